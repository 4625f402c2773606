"""Calls of several threads carried out as one, by whichever of them comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from jobs.errors import Unavailable

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: So many rows are one statement at most: what all of them wait for stays short.
MOST: Final = 64


@dataclass(eq=False)
class Call(Generic[Key, Item, Answer]):
    """One thread that stands in line."""

    key: Key
    item: Item
    answer: Answer | None = None
    error: Unavailable | None = None
    leads: bool = False  #: it is its turn to carry out what stands in line
    woken: threading.Event = field(default_factory=threading.Event)


class Together(Generic[Key, Item, Answer]):
    """A line without a clerk: nobody waits for company.

    Who finds nobody at work goes at once.  What comes meanwhile stands in line, and its first
    then carries all of it out.  ``all_of`` must wait for nothing that only one of them needs: it
    leaves that one out, and each that was left out goes ``alone``, on its own thread.  So does
    each if ``all_of`` fails, since the fault may be one call's own; only a server that is away
    is that for all.
    """

    def __init__(
        self,
        all_of: Callable[[Sequence[Item]], Mapping[Key, Answer]],
        alone: Callable[[Item], Answer],
    ) -> None:
        self._all_of = all_of
        self._alone = alone
        self._line: list[Call[Key, Item, Answer]] = []
        self._is_busy = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many stand in line."""
        with self._lock:
            return len(self._line)

    def call(self, key: Key, item: Item) -> Answer:
        """Raises what ``alone`` raises; ``Unavailable``, whether or not the change was made."""
        mine: Call[Key, Item, Answer] = Call(key, item)
        with self._lock:
            self._line.append(mine)
            mine.leads, self._is_busy = not self._is_busy, True
        if not mine.leads:
            mine.woken.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise type(mine.error)(str(mine.error)) from mine.error  # each thread its own traceback
        return self._alone(item) if mine.answer is None else mine.answer

    def _lead(self) -> None:
        with self._lock:
            calls = self._one_of_each()
        try:
            self._carry_out(calls)
        finally:
            self._pass_on()
            for call in calls:
                call.woken.set()

    def _one_of_each(self) -> Sequence[Call[Key, Item, Answer]]:
        """Of two with one key the second waits for its turn."""
        calls: dict[Key, Call[Key, Item, Answer]] = {}
        for call in self._line:
            if len(calls) < MOST:
                calls.setdefault(call.key, call)
        self._line = [call for call in self._line if calls.get(call.key) is not call]
        return [*calls.values()]

    def _carry_out(self, calls: Sequence[Call[Key, Item, Answer]]) -> None:
        try:
            answers = self._all_of([call.item for call in calls])
        except Unavailable as error:
            for call in calls:
                call.error = error
        except Exception:  # noqa: BLE001 - each is told its own
            return
        else:
            for call in calls:
                call.answer = answers.get(call.key)

    def _pass_on(self) -> None:
        with self._lock:
            self._is_busy = bool(self._line)
            if self._line:
                self._line[0].leads = True
                self._line[0].woken.set()
