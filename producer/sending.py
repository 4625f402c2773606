"""From drafts to jobs that can be recorded: what is wrong is said first, then pictures are sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import Final, TypeVar

from jobs.errors import JobsError, Unavailable
from jobs.keys import serving
from jobs.ledger import Ledger
from jobs.model import NewJob, ServedModel
from producer.inputs import Inputs, Picture

E = TypeVar("E")

UPLOADS: Final = 8  # pictures read, checked and uploaded at the same time
REMEMBERED: Final = 1.0  # seconds that the offered models are taken for the same


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A job that is right but for its pictures, which are not sent yet."""

    new: NewJob
    pictures: Sequence[Picture]


class Offers:
    """What workers offer, so that nothing is uploaded for a model that nobody has."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._models: Sequence[ServedModel] = ()
        self._asked_at = -inf

    def refusal(self, new: NewJob) -> JobsError | None:
        """``ModelNotServed``, as the ledger would say it later.  Raises ``Unavailable``."""
        known = serving(new, self._models)
        if not isinstance(known, JobsError):
            return None
        if self._clock() - self._asked_at > REMEMBERED:
            self._models, self._asked_at = self._ledger.models(), self._clock()
            known = serving(new, self._models)
        return known if isinstance(known, JobsError) else None


class Sender:
    """Sends the pictures of one call, several at a time and each of them once.

    After the first ``Unavailable`` nothing more is tried: waiting for the same time-out again, a
    thousand times over, would tell nothing new.
    """

    def __init__(self, inputs: Inputs, offers: Offers) -> None:
        self._inputs = inputs
        self._offers = offers
        self._away: Unavailable | None = None

    def one(self, draft: Draft | JobsError) -> NewJob | JobsError:
        """Without threads."""
        return self._ready(self._checked(draft), self._store)

    def chunks(
        self, edits: Sequence[E], draft: Callable[[E], Draft | JobsError], *, size: int
    ) -> Iterator[Iterator[NewJob | JobsError]]:
        """By ``size``, in order.  While one is recorded, the pictures of the next are sent."""
        pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload")
        try:
            before: Iterator[NewJob | JobsError] | None = None
            for start in range(0, len(edits), size):
                drafts = map(draft, edits[start : start + size])
                begun = self._begun(pool, [*map(self._checked, drafts)])
                if before is not None:
                    yield before
                before = begun
            if before is not None:
                yield before
        finally:  # after Ctrl-C nobody waits for more than what is on its way
            pool.shutdown(cancel_futures=True)

    def _begun(
        self, pool: ThreadPoolExecutor, checked: Sequence[Draft | JobsError]
    ) -> Iterator[NewJob | JobsError]:
        wanted = [one.pictures for one in checked if isinstance(one, Draft)]
        sent: dict[Picture, Future[str]] = {
            picture: pool.submit(self._store, picture)
            for picture in dict.fromkeys(picture for pictures in wanted for picture in pictures)
        }
        return (self._ready(one, lambda picture: sent[picture].result()) for one in checked)

    def _checked(self, draft: Draft | JobsError) -> Draft | JobsError:
        if isinstance(draft, JobsError):
            return draft
        try:
            return self._away or self._offers.refusal(draft.new) or draft
        except Unavailable as error:
            self._away = error
            return error

    def _store(self, picture: Picture) -> str:
        if self._away is not None:
            raise self._away
        try:
            return self._inputs.store(picture)
        except Unavailable as error:
            self._away = error
            raise

    def _ready(
        self, draft: Draft | JobsError, stored: Callable[[Picture], str]
    ) -> NewJob | JobsError:
        if isinstance(draft, JobsError):
            return draft
        try:
            digests = tuple(map(stored, draft.pictures))
        except JobsError as error:
            return error
        return replace(draft.new, request=draft.new.request.decided(pictures=digests))
