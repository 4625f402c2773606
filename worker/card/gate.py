"""How many jobs this process may hold: what the card will need soon, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Self

from worker.card.card import Card

#: Jobs that may be encoding and uploading while the card works on others.
MAX_AFTER: Final = 3
#: Jobs in hand, however short they are: one is a thread.
MAX_IN_HAND: Final = 16
#: An open gate gives a message so many seconds, before the ledger itself is asked.
PATIENCE: Final = 0.02
#: From a place to being ready for the card is taken to last so long at first, and to be so far off,
#: in seconds.  A guess, and not the first job's time: that one opens the connections.
FIRST_USUAL: Final = 0.06
FIRST_DEVIATION: Final = 0.02
#: An outage of the bucket says nothing about its usual speed: seconds.
MAX_LEAD: Final = 10.0
#: How fast the lead follows what is seen; its usual deviation is added, as TCP's timer does it
#: (RFC 6298), since a card that waits is lost to everybody.
FOLLOWS: Final = 0.25
#: A job is ready this much before the card is free, at most, if it takes as long as usual:
#: seconds.  Another card may be idle meanwhile.
MAX_SLACK: Final = 0.04
#: A job that took longer than so many leads is taken for an accident, and counts as that long.
ACCIDENT: Final = 2
#: No thread sleeps for less: seconds.
SOON: Final = 0.001


@dataclass(eq=False)
class Place:
    """Where one admitted job stands.  Leave it when the attempt is over: ``with place:``."""

    gate: Gate
    since: float  #: of the card's clock
    before_card: bool = True
    ready_after: float | None = None  #: seconds

    def is_ready(self) -> None:
        """Fetched, decoded and prepared: from now on it only waits for the card."""
        self.ready_after = self.gate.card.clock() - self.since

    def reached_card(self) -> None:
        if self.before_card:
            self.gate.reached_card(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.left(self)


class Gate:
    """Open when another job should be claimed.

    At most one job stands before the card, and it is admitted only when the card will be
    free by the time it is ready, so that no job waits here while another card is idle.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        #: Set whenever the gate may open sooner than ``opens_in`` has told.
        self.news = threading.Event()
        card.on_change = self.news.set
        self._places: list[Place] = []
        self._usual = FIRST_USUAL  #: seconds from a place to being ready; learned
        self._deviation = FIRST_DEVIATION  #: of that, in seconds; learned
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def is_open(self) -> bool:
        return not self.opens_in()

    @property
    def jobs(self) -> int:
        with self._lock:
            return len(self._places)

    @property
    def ready(self) -> int:
        """Jobs that only wait for the card."""
        with self._lock:
            return sum(one.before_card and one.ready_after is not None for one in self._places)

    @property
    def lead(self) -> float:
        """So many seconds before the card is free the next job is taken."""
        return min(MAX_LEAD, self._usual + min(MAX_SLACK, self._deviation + PATIENCE))

    def opens_in(self) -> float:
        """Seconds, as things stand; 0 when it is open, infinite if something must happen first."""
        with self._lock:
            return self._opens_in()

    def close(self) -> None:
        """For good: this process drains."""
        with self._lock:
            self._closed = True

    def admit(self) -> Place | None:
        """A place for one more job, or ``None`` if there is no room now."""
        with self._lock:
            if self._opens_in():
                return None
            place = Place(self, self.card.clock())
            self._places.append(place)
        self.news.set()
        return place

    def admit_more(self) -> list[Place]:
        """Beside one that was just admitted: for jobs so short that the card has done them all
        before another card would have had them."""
        with self._lock:
            room = min(self._at_once, MAX_IN_HAND - len(self._places) + 1)
            more = [Place(self, self.card.clock()) for _ in range(room - 1)]
            self._places += more
            return more

    def reached_card(self, place: Place) -> None:
        with self._lock:
            place.before_card = False
            if place.ready_after is not None:
                self._learn(min(place.ready_after, ACCIDENT * self.lead))
        self.news.set()

    def left(self, place: Place) -> None:
        with self._lock:
            self._places.remove(place)
            self._changed.notify_all()
        self.news.set()

    def wait_empty(self, timeout: float, *, but: Callable[[], int] = lambda: 0) -> bool:
        """True once nobody, ``but`` for so many, has a place; ``timeout`` in seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._places) <= but(), timeout)

    def _learn(self, seconds: float) -> None:
        off = seconds - self._usual
        self._deviation += FOLLOWS * (abs(off) - self._deviation)
        self._usual += FOLLOWS * off

    @property
    def _at_once(self) -> int:
        """So many jobs of the usual length are one job of the least that matters."""
        return max(1, int(MAX_SLACK / max(self.card.usual, SOON)))

    def _opens_in(self) -> float:
        before = any(place.before_card for place in self._places)
        most = MAX_AFTER if self._at_once == 1 else MAX_IN_HAND - 1
        if self._closed or self.card.is_broken or before or len(self._places) > most:
            return inf
        seconds = self.card.free_in() - self.lead
        return seconds if seconds > SOON else 0.0
