"""Who offers what, as the ledger in memory keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from jobs.ledger import WORKER_TIMEOUT
from jobs.model import ServedModel, WorkerInfo


@dataclass(slots=True, kw_only=True)
class _Present:
    """A worker as it registered, and when it was last heard of."""

    info: WorkerInfo
    seen_at: datetime
    left_at: datetime | None = None

    def is_alive(self, now: datetime) -> bool:
        return self.left_at is None and self.seen_at > now - WORKER_TIMEOUT


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offer:
    model: ServedModel
    registered_at: datetime


class MemoryWorkers:
    """Not thread-safe: the ledger's lock stands before it."""

    def __init__(self) -> None:
        self._offers: dict[tuple[str, str, str], _Offer] = {}
        self._workers: dict[UUID, _Present] = {}

    def register(self, worker: WorkerInfo, *, now: datetime) -> None:
        self._offers[_key(worker.model)] = _Offer(model=worker.model, registered_at=now)
        known = self._workers.setdefault(worker.id, _Present(info=worker, seen_at=now))
        known.info, known.seen_at, known.left_at = worker, now, None

    def retire(self, worker_id: UUID, *, now: datetime) -> None:
        if worker_id in self._workers:
            self._workers[worker_id].left_at = now

    def silent(self, *, before: datetime) -> list[UUID]:
        """Last heard of before this moment."""
        return [one for one, known in self._workers.items() if known.seen_at < before]

    def forget(self, workers: Sequence[UUID]) -> None:
        for one in workers:
            del self._workers[one]

    def saw(self, worker_id: UUID, *, now: datetime) -> None:
        if worker_id in self._workers:
            self._workers[worker_id].seen_at = now

    def known(self, worker_id: UUID) -> WorkerInfo | None:
        present = self._workers.get(worker_id)
        return present.info if present else None

    def models(self, *, now: datetime) -> list[ServedModel]:
        """Those with live workers first, then the newest registration."""
        alive = {_key(one.model) for one in self.alive(now=now)}
        offers = sorted(self._offers.values(), key=lambda one: one.registered_at, reverse=True)
        return [one.model for one in sorted(offers, key=lambda one: _key(one.model) not in alive)]

    def alive(self, *, now: datetime) -> list[WorkerInfo]:
        infos = [one.info for one in self._workers.values() if one.is_alive(now)]
        return [replace(info, model=self._offers[_key(info.model)].model) for info in infos]


def _key(model: ServedModel) -> tuple[str, str, str]:
    return model.name, model.profile_group, model.revision
