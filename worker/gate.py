"""How many jobs this process may hold: what the card will need soon, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from worker.card import Card

#: Jobs that may be encoding and uploading while the card works on others.
MAX_AFTER: Final = 3
#: Fetching and decoding is taken to last at least and at most this long, in seconds.
MIN_LEAD: Final = 0.1
MAX_LEAD: Final = 10.0  # an outage of the bucket says nothing about its usual speed


@dataclass(eq=False)
class Place:
    """Where one admitted job stands.  Leave it when the attempt is over: ``with place:``."""

    gate: Gate
    before_card: bool = True

    def reached_card(self, seconds: float) -> None:
        """Fetched and decoded, which took ``seconds``; now on the card."""
        if self.before_card:
            self.before_card = False
            self.gate.learned(seconds)

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
        self._places: list[Place] = []
        self._lead = MIN_LEAD
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def is_open(self) -> bool:
        with self._lock:
            return self._has_room()

    @property
    def jobs(self) -> int:
        with self._lock:
            return len(self._places)

    def close(self) -> None:
        """For good: this process drains."""
        with self._lock:
            self._closed = True

    def learned(self, seconds: float) -> None:
        with self._lock:
            lead = 0.7 * self._lead + 0.3 * 1.5 * seconds
            self._lead = min(MAX_LEAD, max(MIN_LEAD, lead))

    def admit(self) -> Place | None:
        """A place for one more job, or ``None`` if there is no room now."""
        with self._lock:
            if not self._has_room():
                return None
            place = Place(self)
            self._places.append(place)
            return place

    def left(self, place: Place) -> None:
        with self._lock:
            self._places.remove(place)
            self._changed.notify_all()

    def wait_empty(self, timeout: float, *, but: Callable[[], int] = lambda: 0) -> bool:
        """True once nobody, ``but`` for so many, has a place; ``timeout`` in seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._places) <= but(), timeout)

    def _has_room(self) -> bool:
        before = sum(place.before_card for place in self._places)
        return (
            not self._closed
            and not before
            and len(self._places) <= MAX_AFTER
            and self.card.free_in() <= self._lead
        )
