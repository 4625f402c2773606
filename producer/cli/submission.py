"""From a command line to accepted jobs: what is named is gathered, sent, and told."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import BinaryIO, Final, TypedDict

import click

from jobs.errors import InvalidRequest, JobsError
from jobs.model import OutputFormat, Priority
from producer.cli import manifest, photos
from producer.cli.entries import Entry
from producer.cli.progress import uploading
from producer.cli.saving import Out, sources_of
from producer.client import Client
from producer.edits import Edit
from producer.inputs import Picture

NAMED: Final = 12  # columns told by their names


class Options(TypedDict):
    """What ``packshot submit`` takes, as click hands it over."""

    photos: tuple[str, ...]
    references: tuple[str, ...]
    manifest: str | None
    recursive: bool
    wait: bool
    out: str | None
    instruction: str | None
    model: str | None
    profile: str | None
    seed: int | None
    steps: int | None
    cfg: float | None
    negative: str | None
    size: str
    format: str | None
    quality: int | None
    alpha: bool
    priority: str
    batch: str | None
    key: str | None
    again: bool
    metadata: tuple[tuple[str, str], ...]
    max_failures: int
    start_within: timedelta | None
    run_limit: timedelta | None
    keep_for: timedelta | None
    wait_for_model: bool


def check(options: Options, *, as_json: bool) -> None:
    """What can be said of the options alone.  Raises ``click.UsageError``."""
    asked = options["photos"]
    if not asked and options["manifest"] is None:
        raise click.UsageError("Name photographs, a folder, or a manifest with --manifest.")
    if options["instruction"] is None and (asked or options["manifest"] is None):
        raise click.UsageError("Say what to change: -i INSTRUCTION.")
    if options["key"] is not None and options["again"]:
        raise click.UsageError("--again salts a derived key; with --key, choose another key.")
    if [*asked, *options["references"], options["manifest"]].count("-") > 1:
        raise click.UsageError("Standard input can be read once; '-' stands there twice.")
    if options["out"] == "-" and as_json:
        raise click.UsageError("-o - and --json both want standard output.")


def fresh_batch() -> str:
    """Readable, sorted by time, and unlike any other."""
    return f"{datetime.now(UTC).astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def template(options: Options) -> Edit:
    """What all photographs of the call have in common."""
    chosen = options["format"]
    return Edit(
        pictures=(),
        instruction=options["instruction"] or "",
        model=options["model"],
        profile=options["profile"],
        seed=options["seed"],
        steps=options["steps"],
        true_cfg_scale=options["cfg"],
        negative=options["negative"],
        size=options["size"],
        format=OutputFormat(chosen) if chosen else OutputFormat.PNG,
        quality=options["quality"],
        alpha=options["alpha"],
        idempotency_key=options["key"],
        salt=secrets.token_hex(8) if options["again"] else "",
        batch=fresh_batch() if options["batch"] is None else options["batch"],
        priority=Priority[options["priority"].upper()],
        metadata=dict(options["metadata"]),
        max_failures=options["max_failures"],
        start_within=options["start_within"],
        run_limit=options["run_limit"],
        keep_for=options["keep_for"],
        wait_for_model=options["wait_for_model"],
    )


def gather(options: Options, base: Edit, stdin: Callable[[], BinaryIO]) -> list[Entry]:
    """An entry per photograph, in the caller's order.

    Raises ``InvalidRequest`` where nothing at all can be done: a manifest that is none, a
    key for several photographs.
    """
    references = [_reference(one, stdin) for one in options["references"]]
    entries = [
        _entry(name, picture, references, base)
        for name, picture in photos.named(options["photos"], stdin, recursive=options["recursive"])
    ]
    if options["manifest"] is not None:
        entries += _from_manifest(options["manifest"], references, base, stdin)
    if options["key"] is not None and len(entries) > 1:
        raise InvalidRequest(f"--key: one key is for one photograph, got {len(entries)}")
    return entries


def destination(options: Options, entries: Sequence[Entry]) -> Out | None:
    """Where results go; what cannot work is said before anything is sent."""
    if options["out"] is None:
        return None
    is_many = options["manifest"] is not None or any(map(_is_folder, options["photos"]))
    out = Out.of(options["out"], several=len(entries) > 1 or is_many)
    if options["format"] is not None:
        out.check(OutputFormat(options["format"]))
    out.prepare(source for entry in entries for source in sources_of(entry))
    if out.format and options["format"] is None:
        for entry in entries:
            entry.edit = entry.edit and replace(entry.edit, format=out.format)
    return out


def submit(client: Client, entries: Sequence[Entry]) -> None:
    """Each entry gets its job or its error."""
    sent = [entry for entry in entries if entry.edit is not None]
    edits = [entry.edit for entry in sent if entry.edit is not None]
    waiting = iter(sent)
    with uploading(len(edits)) as each:
        for outcomes in client.submitting(edits, each=each):
            for outcome in outcomes:
                entry = next(waiting)
                if isinstance(outcome, JobsError):
                    entry.error = outcome
                else:
                    entry.job, entry.created = outcome.job, outcome.created


def hint(entries: Sequence[Entry], batch: str | None) -> str:
    """How to find the jobs again; empty if there is none."""
    jobs = {entry.job.id: entry.job for entry in entries if entry.job}
    fresh = sum(job.batch == batch for job in jobs.values())
    old = len(jobs) - fresh
    parts = []
    if fresh and batch:
        count = f"{fresh} job{'s' * (fresh > 1)}"
        parts.append(f"{count}; to wait: packshot wait --batch {shlex.quote(batch)}")
    if old:
        parts.append(f"{old} job{'s' * (old > 1)} of an earlier batch asked for the same")
    return "; ".join(parts)


def kept(entries: Sequence[Entry], base: Edit) -> str:
    """Which columns of a manifest became metadata, as a misspelt one does; empty if none."""
    rows = [entry.edit for entry in entries if entry.edit and entry.where]
    names = {name: None for edit in rows for name in edit.metadata}  # in their order
    columns = [name for name in names if name not in {"name", *base.metadata}]
    more = ", …" if len(columns) > NAMED else ""
    return f"kept as metadata: {', '.join(columns[:NAMED])}{more}" if columns else ""


def _entry(
    name: str, picture: Picture | JobsError, references: Sequence[Picture], base: Edit
) -> Entry:
    if isinstance(picture, JobsError):
        return Entry(name=name, error=picture)
    metadata = {"name": _storable(PurePath(name).name), **base.metadata}
    edit = replace(base, pictures=[picture, *references], metadata=metadata)
    return Entry(name=name, edit=edit)


def _storable(name: str) -> str:
    """A file's name may hold bytes that are no text."""
    return name.encode(errors="replace").decode().replace("\0", "?")


def _reference(name: str, stdin: Callable[[], BinaryIO]) -> Picture:
    if name != photos.STDIN:
        return Picture.at(name)
    picture = photos.from_stdin(stdin)
    if isinstance(picture, JobsError):
        raise picture
    return picture


def _from_manifest(
    name: str, references: Sequence[Picture], base: Edit, stdin: Callable[[], BinaryIO]
) -> list[Entry]:
    if name == photos.STDIN:
        data, folder = stdin().read(), Path()
    else:
        data, folder = _read(Path(name)), Path(name).parent
    shown = "stdin" if name == photos.STDIN else name
    return manifest.entries(data, name=shown, folder=folder, template=base, references=references)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise InvalidRequest(f"{path}: cannot be read: {reason}") from fault


def _is_folder(photo: str) -> bool:
    # Not Path.is_dir: it raises for a name that is too long, or in a folder closed to us.
    return photo != photos.STDIN and os.path.isdir(photo)  # noqa: PTH112
