"""What a worker looks at before it goes on."""

from __future__ import annotations

from typing import Final

from tests.mutation.guards.nouns import guard

RUNNER: Final = "worker/attempt/runner.py"
RUNNER_TESTS: Final = "tests/unit/worker/test_runner.py"

WORKER: Final = (
    guard(
        "the lease is looked at before a result is announced",
        RUNNER,
        "suspect=suspect)\n        held.check()\n",
        "suspect=suspect)\n",
        "tests/unit/worker/test_last_look.py::test_an_order_that_comes_during_the_upload_is_obeyed",
    ),
    guard(
        "the lease is looked at at each step",
        "worker/held.py",
        "        self.steps_done, self.steps_total = done, total\n        self.check()\n",
        "        self.steps_done, self.steps_total = done, total\n",
        "tests/unit/worker/test_runner_orders.py::test_a_cancel_is_obeyed_within_a_step",
    ),
    guard(
        "a broken card takes no other job",
        RUNNER,
        "        if self.card.is_broken:\n",
        "        if False:\n",
        f"{RUNNER_TESTS}::test_the_next_job_is_kept_from_a_broken_card_and_handed_back_uncounted",
    ),
    guard(
        "a job without a sign of life is told to hang",
        "worker/attempt/watchdog.py",
        "            if silence.looks >= LOOKS:\n",
        "            if False:\n",
        "tests/unit/worker/test_watching.py"
        "::test_a_job_that_is_stuck_beside_the_card_is_told_with_its_stage",
    ),
    guard(
        "who asks for orders gives a sign of life",
        "worker/held.py",
        "        self.signs += 1\n        # A fresh one",
        "        # A fresh one",
        "tests/unit/worker/test_watching.py"
        "::test_a_job_that_is_stuck_beside_the_card_is_told_with_its_stage",
    ),
)
