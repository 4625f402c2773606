"""The three layers, each from what it is made of into a depot.

    environment   a conda prefix: collect ▸ leave out ▸ survey ▸ compile ▸ rewrite ▸ archive
    application   a wheel of this project: unpack ▸ compile ▸ survey ▸ archive
    model         a folder of weights: survey ▸ each file under its digest

The manifest is whole before the archive is begun: what must not be packed is refused first, and a
layer that the depot holds already is not compressed again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from envpack.node.model import FORMATS, Archive, FileRecord, LinkRecord, Manifest
from envpack.node.weights import SUMS, sums_of
from envpack.pack.archive import Form, contents, write_archive
from envpack.pack.bytecode import make_bytecode
from envpack.pack.collect import collect
from envpack.pack.compress import MAX_LEVELS
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable, named
from envpack.pack.exclude import Saving, without_ballast
from envpack.pack.facts import environment_facts
from envpack.pack.project import application_facts, unpacked_wheel
from envpack.pack.rewrite import rewritten
from envpack.pack.sources import Source
from envpack.pack.survey import Allowed, Leaks, Surveyed, folders_of, survey


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A layer as the depot holds it now."""

    layer: str
    digest: str
    manifest: Manifest
    archive: Archive | None  #: none of a model, whose files travel one by one
    savings: tuple[Saving, ...] = ()
    uncompiled: tuple[str, ...] = ()  #: modules that are no Python of this interpreter

    @property
    def document(self) -> str:
        """Its name in the depot; what a signature is made of."""
        return f"layers/{self.digest}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What an operator may decide about one environment."""

    keep: Collection[str] = ()  #: names of rules of ``exclude`` that are set aside
    allowed: Sequence[Allowed] = ()  #: leaks that somebody looked at


def pack_environment(
    prefix: Path, depot: DepotFolder, form: Form | None = None, rules: Rules | None = None
) -> Packed:
    """Raises ``NotPackable``."""
    rules = rules or Rules()
    collected = collect(prefix)
    kept = without_ballast(collected.files, collected.links, rules.keep)
    with depot.scratch() as scratch:
        leaks = Leaks(folders=folders_of(prefix), allowed=tuple(rules.allowed))
        found = survey(kept.files, leaks)
        # Of what was found: a module that names the build's folder has a placeholder from here on.
        sources = [one.source for one in found]
        bytecode = make_bytecode(collected.interpreter, sources, scratch, collected.prefix)
        found += survey(bytecode.files, leaks)
        found.sort(key=lambda one: one.record.path)
        files = rewritten(found, collected.site_packages)
        facts = environment_facts(collected, kept.files)
        manifest = _manifest("env", files, kept.links, facts)
        archive = _archived(depot, manifest, files, form or Form())
    return Packed(
        layer="env",
        digest=manifest.digest,
        manifest=manifest,
        archive=archive,
        savings=kept.savings,
        uncompiled=bytecode.refused,
    )


def pack_application(
    wheel: Path, interpreter: Path, depot: DepotFolder, settings: Path | None = None
) -> Packed:
    """``interpreter``: of the environment that it will run in.  ``settings``: a file that
    becomes ``settings.env`` of the layer.  Raises ``NotPackable``.
    """
    with depot.scratch() as scratch:
        tree, compiled = scratch / "tree", scratch / "bytecode"
        compiled.mkdir()
        sources = unpacked_wheel(wheel, tree)
        bytecode = make_bytecode(interpreter, sources, compiled)
        if settings is not None:
            sources.append(Source(path="settings.env", content=settings.read_bytes()))
        files = survey(_by_path([*sources, *bytecode.files]), Leaks())
        manifest = _manifest("app", files, (), application_facts(wheel))
        # It is small: pressed hard, and in both forms, so that each host finds one it can read.
        every = [
            _archived(depot, manifest, files, Form(format=form, level=MAX_LEVELS[form]))
            for form in FORMATS
        ]
    return Packed(
        layer="app",
        digest=manifest.digest,
        manifest=manifest,
        archive=every[0],
        uncompiled=bytecode.refused,
    )


def pack_model(folder: Path, depot: DepotFolder, *, follow_links: bool = False) -> Packed:
    """``follow_links``: also what links out of the folder lead to.

    Raises ``NotPackable`` for a folder without files, or that holds what is none, or differs from
    its ``SHA256SUMS``.
    """
    sources = [
        Source(path=path.relative_to(folder).as_posix(), content=path.resolve())
        for path in _weights(folder, follow_links=follow_links)
    ]
    files = survey(_by_path(sources), Leaks())
    _check_sums(folder, {one.record.path: one.record.sha256 for one in files})
    manifest = _manifest("model", files, (), {})
    for one in files:
        _store(depot, one)
    digest = depot.put_manifest(manifest)
    depot.add_archives("model", digest)
    return Packed(layer="model", digest=digest, manifest=manifest, archive=None)


def _weights(folder: Path, *, follow_links: bool) -> list[Path]:
    """All of a model's files.  Whatever is none would be missing on the hosts: it is refused."""
    found = list(_entries(folder))
    if not found:
        raise NotPackable(f"{folder}: holds no files")
    odd = [str(path) for path in found if not path.is_file()]
    if odd:
        raise NotPackable(
            f"neither a file nor a link to one: {named(odd)}: remove it, or put the files there"
        )
    real = folder.resolve()
    outside = [str(path) for path in found if real not in path.resolve().parents]
    if outside and not follow_links:
        raise NotPackable(
            f"links out of {folder}: {named(outside)}: put the files themselves there, or say"
            " that what the links lead to belongs to the model: --follow-links"
        )
    return found


def _entries(folder: Path) -> Iterator[Path]:
    """All but folders, and but what a download tool or git keeps for itself in hidden ones."""

    def refused(fault: OSError) -> NoReturn:
        raise fault

    for place, below, names in os.walk(folder, onerror=refused):
        below[:] = [name for name in below if not name.startswith(".")]
        links = [name for name in below if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in (*names, *links) if not name.startswith("."))


def _check_sums(folder: Path, found: Mapping[str, str]) -> None:
    """A worker would refuse what differs, after gigabytes have been brought to it."""
    if SUMS in found:
        wrong = [name for name, digest in sums_of(folder).items() if found.get(name) != digest]
        if wrong:
            raise NotPackable(
                f"{folder}: missing, hidden or not what its {SUMS} says: {named(wrong)}: fetch"
                f" them again, or write {SUMS} anew"
            )


def _by_path(sources: Sequence[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.path)


def _manifest(
    layer: str, files: Sequence[Surveyed], links: Sequence[LinkRecord], facts: dict[str, Any]
) -> Manifest:
    records: tuple[FileRecord, ...] = tuple(one.record for one in files)
    return Manifest(layer=layer, files=records, links=tuple(links), facts=facts)


def _archived(
    depot: DepotFolder, manifest: Manifest, files: Sequence[Surveyed], form: Form
) -> Archive:
    """Manifest, archive and document of a layer in the depot."""
    digest = depot.put_manifest(manifest)
    there = _whole_archive(depot, digest, form)
    if there is not None:
        return there
    with depot.part() as part:
        archive = write_archive(part.file, contents(files), manifest.links, form)
        part.keep_as(depot.archive_path(archive))
    depot.add_archives(manifest.layer, digest, archive)
    return archive


def _whole_archive(depot: DepotFolder, digest: str, form: Form) -> Archive | None:
    document = depot.document(digest)
    for archive in document.archives if document else ():
        path = depot.archive_path(archive)
        same = (archive.base, archive.format) == (None, form.format)
        if same and path.is_file() and path.stat().st_size == archive.size:
            return archive
    return None


def _store(depot: DepotFolder, file: Surveyed) -> None:
    name = f"files/{file.record.sha256}"
    place = depot.folder / name
    if place.is_file() and place.stat().st_size == file.record.size:
        return
    digest = sha256()
    with depot.part() as part:
        for chunk in file.source.chunks(expected=file.record.size):
            digest.update(chunk)
            part.file.write(chunk)
        if digest.hexdigest() != file.record.sha256:
            raise NotPackable(f"{file.record.path}: changed while it was packed; pack again")
        part.keep_as(place)
