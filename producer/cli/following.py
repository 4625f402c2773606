"""Waits for jobs, and saves each picture as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import BinaryIO

from jobs.errors import JobsError, Timeout, Unavailable
from jobs.model import JobId
from jobs.states import JobState
from producer.cli.entries import Entry
from producer.cli.progress import waiting
from producer.cli.saving import Out, write
from producer.client import Client


class Saver:
    """Saves the picture of each entry once, where ``out`` says."""

    def __init__(
        self, client: Client, out: Out, entries: Sequence[Entry], stdout: Callable[[], BinaryIO]
    ) -> None:
        self._client = client
        self._stdout = stdout
        places = zip(entries, out.places(entries), strict=True)
        # By identity: two entries may be of one job, and each has its file.
        self._places = {id(entry): place for entry, place in places}

    def save(self, entry: Entry) -> None:
        """Does nothing before the job has succeeded.  A fault is the entry's."""
        if entry.job is None or entry.job.state is not JobState.SUCCEEDED:
            return
        if id(entry) not in self._places:
            return
        place = self._places.pop(id(entry))
        try:
            write(self._client.result(entry.job.id), place, self._stdout)
        except JobsError as error:
            entry.error = error
        else:
            entry.file = place


def unserved(client: Client, entries: Sequence[Entry]) -> str:
    """What no worker takes at present; empty if all is served."""
    jobs = {entry.job.id: entry.job for entry in entries if entry.job}
    if all(job.state is not JobState.QUEUED for job in jobs.values()):
        return ""
    try:
        waiting = client.unserved(jobs.values())
    except Unavailable:
        return ""  # a hint: what follows asks the ledger too, and says so
    asked = sorted({f"{job.request.model} ({job.request.profile})" for job in waiting})
    if not waiting:
        return ""
    count = f"{len(waiting):,} job{'s' * (len(waiting) > 1)}"
    return f"no worker serves {', '.join(asked)} at present; {count} will wait for one"


def follow(
    client: Client,
    entries: Sequence[Entry],
    *,
    timeout: timedelta | None = None,
    saver: Saver | None = None,
) -> None:
    """Keep the entries' jobs up to date until all are final.

    When the time or the ledger runs out on us, that is the error of each unfinished entry:
    the caller still learns of all the others.
    """
    those: dict[JobId, list[Entry]] = {}
    for entry in entries:
        if entry.job is not None:
            those.setdefault(entry.job.id, []).append(entry)
    if not those:
        return
    with waiting(len(those)) as show:
        try:
            for jobs in client.watch(list(those), timeout=timeout):
                show(jobs)
                for job in jobs:
                    for entry in those[job.id]:
                        entry.job = job
                        if saver:
                            saver.save(entry)
        except (Timeout, Unavailable) as error:
            _blame(error, entries)


def _blame(error: JobsError, entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.job is not None and not entry.job.state.is_final:
            entry.error = error
