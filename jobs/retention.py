"""Port: what the ledger keeps no longer than policy says.  A sweep asks, then removes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from jobs.model import ArtifactKey, Job, JobId, input_key


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredInput:
    """A source picture that is kept."""

    tenant: str
    sha256: str
    bytes: int

    @property
    def key(self) -> ArtifactKey:
        return input_key(self.tenant, self.sha256)


class Retention(Protocol):
    """The record's side of a sweep.  Any number of sweeps may run at once.

    What ``due_…`` lists a sweep would remove, oldest first; asking changes nothing.  Ages are
    by the record's own clock.  All raise ``Unavailable``.
    """

    def due_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        """Announced pictures that have expired, or that nobody gave a time and whose jobs ended
        longer ago than ``keep``.
        """

    def withdraw_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        """Announce them no more; their objects may be deleted after that, never before.

        Each is returned once, to one caller.
        """

    def due_jobs(self, keep: timedelta, *, limit: int) -> Sequence[JobId]:
        """Jobs that ended longer ago than this."""

    def remove_jobs(self, keep: timedelta, *, limit: int) -> int:
        """With their attempts and their audit; those without an announced picture alone."""

    def due_inputs(self, keep: timedelta, *, limit: int) -> Sequence[StoredInput]:
        """Inputs last used longer ago than this, and needed by no job that waits or runs."""

    def remove_inputs(
        self,
        keep: timedelta,
        *,
        limit: int,
        delete: Callable[[Sequence[ArtifactKey]], None],
    ) -> Sequence[StoredInput]:
        """Forget them; ``delete`` is called with their keys while nobody can count on them.

        Who would use one meanwhile waits, finds it gone, and uploads it again.  If ``delete``
        raises, or the process is killed, nobody counts on them either, since some objects may be
        gone; the next sweep tries again.
        """

    def unrecorded(self, inputs: Sequence[StoredInput]) -> Sequence[StoredInput]:
        """Those that the record does not know: their submits ended after the upload."""

    def adopt(self, inputs: Sequence[StoredInput]) -> int:
        """Record them as used just now: whoever needs them finds them, else they age."""

    def due_workers(self, keep: timedelta, *, limit: int) -> Sequence[UUID]:
        """Workers last heard of longer ago than this."""

    def remove_workers(self, keep: timedelta, *, limit: int) -> int:
        """What they offered stays known."""
