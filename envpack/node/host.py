"""The folders of a host, and what lies in them: see docs/envpack.md.

What is not marked complete does not exist: a run that died leaves nothing that another believes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envpack.node.errors import (
    EnvpackError,
    InvalidManifest,
    NotThere,
    NotTrusted,
    Unreachable,
    Unsuitable,
)
from envpack.node.model import LAYERS, Manifest, Release, checked_digest, is_digest, parsed, spelt

_AGAIN = "packshot-env unpack --again"
_UNMOVABLE = f"an environment cannot be moved: {_AGAIN}"
#: Where ``previous`` pointed, for as long as a switch takes.
FORMER = "former"
_SHORTEST = 6  # digits by which a release may be named, where it is the only one


@dataclass(frozen=True)
class Completion:
    """What is written last, beside a layer that is whole."""

    path: str  #: the real folder that its prefix was fixed for
    completed: float  #: seconds since 1970, by ``Host.clock``
    #: sha256 and size of each file that the prefix has changed
    changed: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = ((self.path, str), (self.completed, (int, float)), (self.changed, dict))
        if not all(isinstance(one, kind) for one, kind in kinds):
            raise TypeError("not what unpack writes")


class Host:
    """All layers and releases under one root."""

    def __init__(self, root: Path) -> None:
        # Prefixes are written into files, so only the real path counts.
        self.root = Path(os.path.realpath(root))
        self._manifests: dict[tuple[str, str], Manifest] = {}
        spelt_root = str(self.root)
        if spelt_root.split() != [spelt_root] or not spelt_root.isprintable():
            raise Unsuitable(
                f"root {spelt_root!r}: has blanks, which no script's first line can name: "
                "choose another"
            )

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    def layer(self, kind: str, digest: str) -> Path:
        """By its real path, also where ``<root>/<kind>`` is a link to another disk."""
        return Path(os.path.realpath(self.root / kind)) / digest

    def draft(self, kind: str, digest: str) -> Path:
        """Beside a layer's place: where it is written."""
        return self.layer(kind, f".{digest}")

    def manifest_path(self, kind: str, digest: str) -> Path:
        return self.root / kind / f"{digest}.json"

    def completion_path(self, kind: str, digest: str) -> Path:
        return self.root / kind / f"{digest}.complete"

    def release_folder(self, digest: str) -> Path:
        return Path(os.path.realpath(self.root / "releases")) / digest

    def completion(self, kind: str, digest: str) -> Completion | None:
        """Of a layer that is whole and stands where it was unpacked for."""
        value = _json(self.completion_path(kind, digest))
        if value is None:
            return None
        try:
            return Completion(**value)
        except TypeError as fault:
            raise InvalidManifest(
                f"{self.completion_path(kind, digest)}: cannot be read ({fault}): {_AGAIN}"
            ) from fault

    def clock(self, kind: str) -> float:
        """Seconds since 1970 by the clock that gives a layer's files their times: where they lie on
        another machine's disk, that machine's.
        """
        probe = self.draft(kind, "clock")
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def complete(self, kind: str, digest: str, done: Completion) -> None:
        write(self.completion_path(kind, digest), spelt(asdict(done)))

    def put_manifest(self, kind: str, digest: str, manifest: Manifest) -> None:
        write(self.manifest_path(kind, digest), spelt(manifest.as_json()))
        self._manifests[kind, digest] = manifest

    def manifest(self, kind: str, digest: str) -> Manifest:
        """Of a layer on this host; read once.  Raises ``NotThere``, ``NotTrusted``."""
        if (kind, digest) not in self._manifests:
            self._manifests[kind, digest] = self._read_manifest(kind, digest)
        return self._manifests[kind, digest]

    def _read_manifest(self, kind: str, digest: str) -> Manifest:
        path = self.manifest_path(kind, digest)
        value = _json(path)
        if value is None:
            raise NotThere(f"{path}: no such layer here: unpack its release first")
        manifest = Manifest.from_json(value)
        if manifest.digest != digest or manifest.layer != kind:
            raise NotTrusted(f"{path}: is not the manifest that its name says: {_AGAIN}")
        return manifest

    def placed(self, kind: str, digest: str) -> Path:
        """The real folder of a layer that is whole, and has not moved since.

        Raises ``NotThere`` or ``NotTrusted``.
        """
        done = self.completion(kind, digest)
        if done is None:
            raise NotThere(f"{kind} layer {digest[:12]}: not unpacked in {self.root}")
        path, named = Path(done.path), f"{kind} layer {digest[:12]}: was unpacked at {done.path}"
        if not path.is_dir() or os.path.realpath(path) != done.path:
            raise NotTrusted(f"{named} and is not there any more; {_UNMOVABLE}")
        if kind != "model" and path != self.layer(kind, digest):
            raise NotTrusted(f"{named} and stands at {self.layer(kind, digest)}; {_UNMOVABLE}")
        return path

    def layers(self) -> list[tuple[str, str]]:
        """Kind and digest of all that lies here, whole or not."""
        found = {
            (kind, path.name.split(".")[0]) for kind in LAYERS for path in listed(self.root / kind)
        }
        return sorted((kind, name) for kind, name in found if is_digest(name))

    def releases(self) -> dict[str, Release]:
        """By digest, the highest counter first; without those that ``odd`` names."""
        odd = self.odd()
        names = [path.name for path in self._release_folders() if path.name not in odd]
        found = {name: self.release(name) for name in names}
        return dict(sorted(found.items(), key=lambda item: -item[1].counter))

    def odd(self) -> dict[str, str]:
        """What lies among the releases and is none that can be read: its name, and why."""
        said = {path.name: self._odd(path.name) for path in self._release_folders()}
        return {name: why for name, why in said.items() if why}

    def _odd(self, name: str) -> str:
        try:
            self.release(checked_digest("name", name))
        except EnvpackError as fault:
            return str(fault)
        return ""

    def _release_folders(self) -> list[Path]:
        """Without drafts."""
        folders = listed(self.root / "releases")
        return [path for path in folders if not path.name.startswith(".")]

    def release(self, digest: str) -> Release:
        """Raises ``NotThere``, ``NotTrusted``."""
        value = _json(self.release_folder(digest) / "release.json")
        if value is None:
            raise NotThere(f"release {digest[:12]}: not unpacked in {self.root}: unpack it first")
        release = Release.from_json(value)
        if release.digest != digest:
            raise NotTrusted(f"release {digest[:12]}: its folder holds another one: {_AGAIN}")
        return release

    def named(self, name: str) -> str:
        """The digest of the release that ``name`` means: digest, its head, name, or a link.

        Raises ``NotThere``, also where several are meant.
        """
        if name in {"current", "previous"}:
            linked = self.linked(name)
            if linked is None:
                raise NotThere(f"{name}: no release is {name} in {self.root}")
            return linked
        found = {
            digest
            for digest, release in self.releases().items()
            if release.name == name or (len(name) >= _SHORTEST and digest.startswith(name))
        }
        if len(found) != 1:
            what = "several releases" if found else "no release"
            raise NotThere(
                f"{name!r}: {what} of that name in {self.root}: packshot-env list shows all, and "
                "unpack brings others"
            )
        return found.pop()

    def linked(self, name: str) -> str | None:
        """The release that ``current`` or ``previous`` points at."""
        found = self._target(name)
        if name == "previous" and found is not None and found == self._target("current"):
            return self._target(FORMER)  # the switch was killed before it happened
        return found

    def _target(self, name: str) -> str | None:
        try:
            target = (self.root / name).readlink()
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise Unsuitable(
                f"{self.root / name}: not a link to a release ({fault.strerror}): move it away, "
                "then activate the release that is to run"
            ) from fault
        return checked_digest(f"{self.root / name}", target.name)

    def highest(self) -> tuple[int, str]:
        """The highest counter ever activated, and the release that had it."""
        try:
            counter, digest = (self.root / "highest").read_text(encoding="utf-8").split()
            return int(counter), checked_digest("highest", digest)
        except FileNotFoundError:
            return 0, ""
        except ValueError as fault:
            raise InvalidManifest(
                f"{self.root / 'highest'}: cannot be read ({fault}): write into it the highest "
                "counter that ran here and its release's digest, as packshot-env list --json says"
            ) from fault

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else unpacks or removes anything here meanwhile.  Raises as ``_held``."""
        return self._held("lock")

    def switching(self) -> AbstractContextManager[None]:
        """Nobody else says meanwhile which release starts.  Not ``locked``: a rollback does not
        wait for gigabytes that somebody unpacks.  Raises as ``_held``.
        """
        return self._held("switch.lock")

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        """A process that dies lets go.  Raises ``Unreachable`` if another one has it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError as fault:
            raise Unsuitable(
                f"{self.root}: cannot be written by this user: choose another, or have it made"
            ) from fault
        except (FileExistsError, NotADirectoryError) as fault:
            raise Unsuitable(f"{self.root}: is no folder: choose another root") from fault
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Unreachable(
                f"{self.root}: another packshot-env works here; run it again when it is done"
            ) from None
        finally:
            os.close(lock)


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """All of it or nothing, also if the power fails; only under the lock of its root.

    The draft has one name, so that the next run replaces what a killed one left.
    """
    draft = path.with_name(f".{path.name}.draft")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    with draft.open("wb") as file, writing(path):
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names what is written: of a full disk the system tells no more than that one is full."""
    try:
        yield
    except OSError as fault:
        if fault.errno and not fault.filename:
            fault.filename = str(path)
        raise


def link(path: Path, target: str) -> None:
    """Point ``path`` at ``target``: before or after, never neither."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def listed(folder: Path) -> list[Path]:
    """What lies in a folder; nothing if there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return parsed(str(path), content)
    except InvalidManifest as fault:
        raise InvalidManifest(f"{fault}: {_AGAIN}") from fault
