"""Who makes a conda prefix: micromamba, conda, pixi or py-rattler, whichever is there.

Each solves a spec to packages with their sha256 and links exactly those.  The programs are
given URLs and digests alone: nothing is solved again when a lock is built.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from envpack.node.errors import NotThere, Unsuitable
from envpack.pack.lock import CondaPackage, Lock
from envpack.pack.process import ToolFailed, run
from envpack.pack.spec import Spec


class Builder(Protocol):
    """``cache`` keeps the packages: it must outlive the packing of the prefix."""

    name: str

    def is_present(self) -> bool: ...

    def solve(self, spec: Spec, cache: Path) -> tuple[CondaPackage, ...]:
        """Raises ``ToolFailed``, ``Unsuitable``."""

    def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
        """Raises ``ToolFailed``."""


class _Program:
    """A program on the PATH."""

    name: str

    def is_present(self) -> bool:
        return shutil.which(self.name) is not None


class Micromamba(_Program):
    """https://mamba.readthedocs.io/en/latest/user_guide/micromamba.html"""

    name = "micromamba"

    def solve(self, spec: Spec, cache: Path) -> tuple[CondaPackage, ...]:
        ended = run(
            [
                *(self.name, "create", "--yes", "--dry-run", "--json", "--root-prefix", cache),
                *("--platform", spec.platform, "--prefix", cache / "nowhere"),
                *_channels(spec),
                *spec.conda,
            ]
        )
        return _fetched(self.name, ended.stdout)

    def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
        explicit = _explicit(lock, cache)
        run(
            [
                *(self.name, "create", "--yes", "--root-prefix", cache),
                *("--prefix", prefix, "--file", explicit),
            ]
        )


class Conda(_Program):
    """From 24.9 on: older ones know no sha256 in an explicit file (conda/conda#14048)."""

    name = "conda"

    def solve(self, spec: Spec, cache: Path) -> tuple[CondaPackage, ...]:
        ended = run(
            [
                *("env", f"CONDA_PKGS_DIRS={cache / 'solving'}", f"CONDA_SUBDIR={spec.platform}"),
                *(self.name, "create", "--yes", "--dry-run", "--json"),
                *("--prefix", cache / "nowhere"),
                *_channels(spec),
                *spec.conda,
            ]
        )
        return _fetched(self.name, ended.stdout)

    def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
        run(
            [
                *("env", f"CONDA_PKGS_DIRS={cache / 'pkgs'}", f"CONDA_SUBDIR={lock.platform}"),
                *(self.name, "create", "--yes", "--prefix", prefix),
                *("--file", _explicit(lock, cache)),
            ]
        )


class Pixi(_Program):
    """Chooses the folder of an environment itself: the prefix becomes a link to it."""

    name = "pixi"

    def solve(self, spec: Spec, cache: Path) -> tuple[CondaPackage, ...]:
        del cache
        raise Unsuitable(
            f"pixi cannot refresh the lock of {spec.name}: use micromamba, conda or py-rattler"
        )

    def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        channels = sorted({one.channel for one in lock.conda})
        workspace = {"name": "environment", "channels": channels, "platforms": [lock.platform]}
        rows = [f"{key} = {json.dumps(value)}" for key, value in workspace.items()]
        (cache / "pixi.toml").write_text("\n".join(["[workspace]", *rows]) + "\n", "utf-8")
        (cache / "pixi.lock").write_text(pixi_lock(lock), "utf-8")
        # --frozen: what the lock says, whatever the manifest says.
        run([self.name, "install", "--frozen", "--manifest-path", cache / "pixi.toml"])
        prefix.symlink_to(cache / ".pixi" / "envs" / "default")


class Rattler:
    """The library; pinned exactly, its interface breaks between 0.x releases."""

    name = "py-rattler"

    def is_present(self) -> bool:
        return find_spec("rattler") is not None

    def solve(self, spec: Spec, cache: Path) -> tuple[CondaPackage, ...]:
        del cache  # index files go to its own
        import rattler  # noqa: PLC0415 - 80 MB that only this builder needs

        async def solved() -> Sequence[Any]:
            return await rattler.solve(
                list(spec.channels),
                list(spec.conda),
                platforms=[rattler.Subdir(spec.platform), rattler.Subdir("noarch")],
                virtual_packages=rattler.VirtualPackage.detect(),
                timestamp_policy="allow-missing",
            )

        records = _waited("py-rattler", solved())
        return tuple(
            CondaPackage(url=str(one.url), sha256=(one.sha256 or b"").hex()) for one in records
        )

    def link(self, lock: Lock, prefix: Path, cache: Path) -> None:
        import rattler  # noqa: PLC0415

        cache.mkdir(parents=True, exist_ok=True)
        locked = cache / "pixi.lock"
        locked.write_text(pixi_lock(lock), "utf-8")
        environment = rattler.LockFile.from_path(locked).default_environment()
        assert environment is not None, "pixi_lock names it"
        (platform,) = environment.platforms()
        records = environment.conda_repodata_records_for_platform(platform)
        _waited(
            "py-rattler",
            rattler.install(
                list(records or []), target_prefix=prefix, cache_dir=cache, show_progress=False
            ),
        )


#: In the order of preference.
BUILDERS: Final[Mapping[str, Builder]] = {
    one.name: one for one in (Micromamba(), Conda(), Pixi(), Rattler())
}


def present(name: str | None = None) -> Builder:
    """The one that is named, or the first that is there.  Raises ``NotThere``."""
    wanted = [BUILDERS[name]] if name else list(BUILDERS.values())
    for one in wanted:
        if one.is_present():
            return one
    names = ", ".join(one.name for one in wanted)
    raise NotThere(f"no builder: looked for {names}; 'pip install py-rattler' is the smallest")


def pixi_lock(lock: Lock) -> str:
    """As pixi and py-rattler read it: JSON is YAML, of version 6 of their format."""
    platform = [{"conda": one.url} for one in lock.conda]
    channels = [{"url": f"{one}/"} for one in sorted({one.channel for one in lock.conda})]
    value = {
        "version": 6,
        "environments": {"default": {"channels": channels, "packages": {lock.platform: platform}}},
        "packages": [_locked(one) for one in lock.conda],
    }
    return json.dumps(value, indent=1) + "\n"


def _locked(package: CondaPackage) -> dict[str, str]:
    name, version, build = package.identity
    return {
        "conda": package.url,
        "sha256": package.sha256,
        "name": name,
        "version": version,
        "build": build,
        "subdir": package.subdir,
    }


def _channels(spec: Spec) -> list[str]:
    named = [word for one in spec.channels for word in ("--channel", one)]
    return ["--override-channels", *named]


def _explicit(lock: Lock, cache: Path) -> Path:
    """Packages by URL and sha256, which the program compares."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / "explicit.txt"
    lines = [f"{one.url}#{one.sha256}" for one in lock.conda]
    path.write_text("\n".join(["@EXPLICIT", *lines]) + "\n", "utf-8")
    return path


def _fetched(program: str, said: str) -> tuple[CondaPackage, ...]:
    """Its cache was empty, so that all it would install is among what it would fetch."""
    try:
        found = json.loads(said)["actions"]["FETCH"]
        return tuple(CondaPackage(url=one["url"], sha256=one["sha256"]) for one in found)
    except (ValueError, KeyError, TypeError) as fault:
        raise ToolFailed(f"{program}: its answer cannot be read ({fault!r:.120})") from fault


def _waited(what: str, work: Any) -> Any:  # noqa: ANN401 - whatever the library answers
    async def done() -> Any:  # noqa: ANN401
        return await work

    try:
        return asyncio.run(done())
    except Exception as fault:
        raise ToolFailed(f"{what}: {' '.join(str(fault).split())[:600]}") from fault
