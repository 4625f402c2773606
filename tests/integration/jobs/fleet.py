"""Simulated cards on a real ledger, with Redis's list between: an order of events, no seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from uuid import UUID

from kombu import Connection, Queue

from jobs.celery_dispatch import CeleryDispatcher
from jobs.model import Job, JobId, Lease, WorkerInfo
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.reconciler import Reconciler
from tests.conformance.scenes import MODEL, completed, worker


class Path(Enum):
    """How jobs come to a worker."""

    MESSAGE = "message"
    CLAIM = "claim"
    BOTH = "both"


@dataclass
class Card:
    """A worker process: its own ledger, as it has its own memory of whom it served."""

    info: WorkerInfo
    ledger: PostgresLedger
    on_card: Lease | None = None
    ahead: Lease | None = None  #: claimed while the other one is on the card


@dataclass
class Fleet:
    """All jobs take equally long.  One ``round`` is that time: each card ends one job."""

    database: Database
    dispatcher: CeleryDispatcher
    redis_url: str
    path: Path
    claims_ahead: bool = True
    cards: list[Card] = field(default_factory=list)
    claims: list[Job] = field(default_factory=list)  #: in order
    starts: list[JobId] = field(default_factory=list)  #: on a card, in order
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self, cards: int) -> None:
        for number in range(cards):
            card = Card(worker(f"card-{number}"), PostgresLedger(self.database))
            card.ledger.register(card.info)
            self.cards.append(card)

    def fill(self) -> None:
        """The reconciler's part of a tick."""
        ledger = self.cards[0].ledger
        Reconciler(ledger=ledger, dispatcher=self.dispatcher).fill(MODEL.queue, len(self.cards))

    def round(self, *, seconds: float = 1.0) -> None:
        for card in self.cards:
            if card.on_card is not None:
                completed(card.ledger, card.on_card, card=seconds)
            card.on_card, card.ahead = card.ahead or self._next(card), None
            if card.on_card is not None:
                self.starts.append(card.on_card.job.id)
            if self.claims_ahead:
                card.ahead = self._next(card)
        self.fill()

    def _next(self, card: Card) -> Lease | None:
        """A message is a hint; who gets none helps itself."""
        named = self._message() if self._listens() else None
        lease = card.ledger.claim_next(card.info, named=named)
        if lease is not None:
            self.claims.append(lease.job)
        return lease

    def _listens(self) -> bool:
        return self.path is Path.MESSAGE or (self.path is Path.BOTH and next(self._numbers) % 2 > 0)

    def _message(self) -> JobId | None:
        with Connection(self.redis_url) as connection:
            message = Queue(MODEL.queue)(connection).get(accept=["json"])
            if message is None:
                return None
            message.ack()
            (named,), *_ = message.decode()
        return JobId(UUID(named))
