"""Which job is next: the messages in Redis, the turns, and what finding them may cost."""

from __future__ import annotations

from typing import Final

from tests.mutation.guards.files import (
    ATTEMPTS,
    LEDGER_TESTS,
    RACES,
    RECONCILER,
    RECONCILER_TESTS,
    WINDOW,
)
from tests.mutation.guards.nouns import guard

STALE_PLANS: Final = (
    "tests/integration/jobs/test_plans_of_stale_statistics.py"
    "::test_a_queue_that_has_just_filled_is_not_read"
)

DISPATCH: Final = (
    guard(
        "one dispatcher at a time fills a window",
        WINDOW,
        "if not connection.execute(mine).scalar_one():",
        "if connection.execute(mine).scalar_one() is None:",
        f"{RACES}::test_two_that_count_the_same_window_do_not_both_fill_it",
    ),
    guard(
        "a window has a size",
        WINDOW,
        "room = size - connection.execute(standing).scalar_one()",
        "room = size",
        f"{LEDGER_TESTS}::test_a_window_never_holds_more_than_its_size",
    ),
    guard(
        "old messages take the room of new ones",
        RECONCILER,
        "return most - self.dispatcher.length(queue)",
        "return most",
        f"{RECONCILER_TESTS}::test_messages_of_jobs_that_workers_took_by_themselves_do_not_pile_up",
    ),
    guard(
        "one at a time sends a queue's messages",
        "jobs/celery_dispatch.py",
        "mine = bool(lock.acquire(blocking=False))",
        "mine = True",
        "tests/conformance/test_dispatchers.py::TestCeleryDispatcher"
        "::test_one_at_a_time_has_the_turn_of_a_queue",
    ),
    guard(
        "only a message that is provably gone is repeated",
        RECONCILER,
        "gone = standing - self.dispatcher.waiting(queue)",
        "gone = standing",
        f"{RECONCILER_TESTS}::test_a_message_that_waits_in_the_broker_is_not_repeated",
    ),
)

#: Whose turn it is, and who does not stand in the way.
TURNS: Final = (
    guard(
        "a message's job is not taken before another's turn",
        ATTEMPTS,
        "CLAIM_NAMED: Final = _claiming(is_among(locked_next(THIS)))",
        "CLAIM_NAMED: Final = CLAIM",
        f"{LEDGER_TESTS}::test_messages_that_stand_make_nobody_wait",
    ),
    guard(
        "who was served last goes last",
        "jobs/postgres/fair.py",
        "    if facts.served is not None:\n",
        "    if False:\n",
        f"{LEDGER_TESTS}::test_messages_that_stand_do_not_hold_their_tenant_back",
    ),
    guard(
        "jobs that back off are not in the way",
        "jobs/postgres/fair.py",
        "return and_(state_is(JobState.QUEUED), job.c.not_before.is_(None))",
        "return state_is(JobState.QUEUED)",
        "tests/integration/jobs/test_plans.py::test_a_long_queue_is_not_read[claim_next]",
    ),
)

#: Whatever the statistics say, a claim's cost does not grow with the queue.
PLANS: Final = (
    guard(
        "a job of the line is looked at by its key",
        "jobs/postgres/fair.py",
        "        .where(job.c.id == line.c.id)\n        .limit(1)\n",
        "        .where(job.c.id == line.c.id)\n",
        f"{STALE_PLANS}[take_window]",
    ),
    guard(
        "a claimed row is found by its key",
        ATTEMPTS,
        ".where(*wanted, state_still_is(JobState.QUEUED))",
        ".where(*wanted, state_is(JobState.QUEUED))",
        f"{STALE_PLANS}[claim_some]",
    ),
)
