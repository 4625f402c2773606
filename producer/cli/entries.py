"""What the command line reports on: one entry per photograph, or per job asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

from jobs.errors import JobsError, Unavailable
from jobs.ids import job_id
from jobs.model import Job, JobId
from producer.edits import Edit


@dataclass(kw_only=True, slots=True)
class Entry:
    """Filled in on its way: an edit, then a job, then a file; or an error."""

    name: str  #: as the caller wrote it: a photograph's path, or a job's id
    noun: Literal["image", "id"] = "image"
    where: str = ""  #: file and line of the manifest that named it
    edit: Edit | None = None
    job: Job | None = None
    created: bool | None = None  #: false: the key had this job already
    error: JobsError | None = None
    file: Path | None = None  #: where its picture was saved

    @property
    def label(self) -> str:
        """What a person knows it by."""
        if self.noun == "image" or self.job is None:
            return self.name
        return title(self.job)


def title(job: Job) -> str:
    """What a person called the job's picture, else the beginning of the instruction."""
    named = job.metadata.get("name") or job.metadata.get("sku")
    return named or job.request.instruction[:40]


def stem(name: str) -> str:
    """A file name's stem that is safe in a folder of ours, whoever chose the name."""
    found = PurePath(name.replace("\\", "/")).stem
    clean = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in found)
    short = clean.encode()[:180].decode(errors="ignore").strip()
    return "" if set(short) <= {"."} else short


def printable(text: str) -> str:
    """One line without control characters: names and messages may come from strangers."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text.strip())


def spelled(ids: Iterable[str], stdin: Callable[[], BinaryIO]) -> list[str]:
    """The ids a caller wrote; ``-`` stands for the first word of each line of ``stdin``."""
    words: list[str] = []
    for one in ids:
        if one != "-":
            words.append(one)
            continue
        lines = stdin().read().decode(errors="replace").splitlines()
        words += [line.split()[0] for line in lines if line.strip()]
    return words


def asked(ids: Sequence[str], answer: Callable[[JobId], Job]) -> list[Entry]:
    """An entry per id.  One that is wrong or unknown harms no other; an outage ends all."""
    entries = [Entry(name=text, noun="id") for text in ids]
    for entry in entries:
        try:
            entry.job = answer(job_id(entry.name))
        except Unavailable:
            raise
        except JobsError as error:
            entry.error = error
    return entries


def entry_of(job: Job) -> Entry:
    return Entry(name=str(job.id), noun="id", job=job)
