"""The thread that tells the workers: nothing depends on it, and nothing ends it."""

from __future__ import annotations

import threading

import pytest

from jobs.reconciler import Reconciler
from jobs.testing.memory_ledger import MemoryLedger
from jobs.testing.recording_dispatcher import RecordingDispatcher
from producer.dispatching import Nudger
from tests.services import eventually


def test_a_fault_that_nobody_foresaw_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(MemoryLedger):
        asked = 0

        def queues(self) -> dict[str, int]:
            self.asked += 1
            raise TypeError("a half-edited tree")

    ledger = Odd()
    nudger = Nudger(ledger, Reconciler(ledger=ledger, dispatcher=RecordingDispatcher()))

    for _ in range(2):
        nudger.nudge("edit.a.default")
        assert nudger.flush(10)

    assert ledger.asked == 2
    assert caplog.messages.count("nudge_crashed") == 2


def test_a_closed_one_leaves_no_thread_behind_and_may_be_nudged_again() -> None:
    ledger = MemoryLedger()
    nudger = Nudger(ledger, Reconciler(ledger=ledger, dispatcher=RecordingDispatcher()))
    before = {*threading.enumerate()}

    for _ in range(2):
        nudger.nudge("edit.a.default")
        nudger.close(10)

    eventually(lambda: {*threading.enumerate()} <= before)
