"""Whose turn it is, and what stands in the broker."""

from __future__ import annotations

from functools import partial

from jobs.ledger import WORKER_TIMEOUT, Ledger
from jobs.model import JobId, Priority
from tests.conformance.scenes import (
    LIGHTNING,
    MINUTE,
    QUEUE,
    SECOND,
    UNKNOWN,
    WORKER,
    LetPass,
    all_submitted,
    at_once,
    before,
    claimed,
    completed,
    failure,
    new,
    several,
    submitted,
    worker,
)


def taken(ledger: Ledger, count: int) -> list[JobId]:
    """Claim and complete one job after the other."""
    order = []
    for _ in range(count):
        lease = ledger.claim_next(WORKER)
        assert lease is not None
        completed(ledger, lease)
        order.append(lease.job.id)
    return order


def backing_off(ledger: Ledger) -> JobId:
    """A job that is to be tried again in a minute."""
    lease = claimed(ledger, submitted(ledger, new("try again")))
    return ledger.fail(lease, failure(), retry_in=MINUTE).id


class OrderConformance:
    def test_the_oldest_job_goes_first(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(5))

        assert taken(ledger, 5) == ids
        assert ledger.claim_next(WORKER) is None

    def test_a_higher_priority_goes_first(self, ledger: Ledger) -> None:
        bulk, normal, urgent = all_submitted(
            ledger,
            [new(priority.name, priority=priority) for priority in sorted(Priority)],
        )

        assert taken(ledger, 3) == [urgent, normal, bulk]

    def test_a_thousand_jobs_of_one_tenant_do_not_stand_before_the_one_of_another(
        self, ledger: Ledger
    ) -> None:
        many = all_submitted(ledger, several(1_000, tenant="a"))
        one = submitted(ledger, new(tenant="b")).id

        window = list(ledger.take_window(QUEUE, size=4))

        assert window == [many[0], one, many[1], many[2]]

    def test_tenants_take_turns_at_the_card(self, ledger: Ledger) -> None:
        a = all_submitted(ledger, several(3, tenant="a"))
        b = all_submitted(ledger, several(2, tenant="b"))

        order = [ledger.claim_next(WORKER) for _ in range(5)]

        assert [lease.job.id for lease in order if lease] == [a[0], b[0], a[1], b[1], a[2]]

    def test_a_priority_goes_before_fairness(self, ledger: Ledger) -> None:
        urgent = all_submitted(ledger, several(3, tenant="a", priority=Priority.INTERACTIVE))
        one = submitted(ledger, new(tenant="b")).id

        assert taken(ledger, 4) == [*urgent, one]

    def test_a_tenant_whose_jobs_run_waits_for_its_next_turn(self, ledger: Ledger) -> None:
        a = all_submitted(ledger, several(4, tenant="a"))
        running = [ledger.claim_next(WORKER), ledger.claim_next(WORKER)]
        b = all_submitted(ledger, several(3, tenant="b"))

        window = list(ledger.take_window(QUEUE, size=4))

        assert [lease.job.id for lease in running if lease] == a[:2]
        assert window == [b[0], b[1], a[2], b[2]]

    def test_messages_that_stand_make_nobody_wait(self, ledger: Ledger) -> None:
        """A batch fills the window; then a single picture comes."""
        many = all_submitted(ledger, several(10, tenant="a"))
        ledger.take_window(QUEUE, size=8)
        one = submitted(ledger, new(tenant="b")).id

        first, second, third = (ledger.claim_next(WORKER, named=named) for named in many[:3])

        assert [lease.job.id for lease in (first, second, third) if lease] == [
            many[0],
            one,
            many[2],
        ]

    def test_a_message_s_job_goes_first_in_its_own_line(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(40, tenant="a"))

        lease = ledger.claim_next(WORKER, named=ids[-1])

        assert lease is not None
        assert lease.job.id == ids[-1]

    def test_a_message_s_job_does_not_go_before_a_higher_priority(self, ledger: Ledger) -> None:
        bulk = all_submitted(ledger, several(3, priority=Priority.BULK))
        urgent = submitted(ledger, new(priority=Priority.INTERACTIVE)).id

        lease = ledger.claim_next(WORKER, named=bulk[0])

        assert lease is not None
        assert lease.job.id == urgent

    def test_a_message_of_a_job_that_is_done_takes_the_next(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(2))
        completed(ledger, claimed(ledger, ledger.get(ids[0])))

        taken_by_it = ledger.claim_next(WORKER, named=ids[0])
        rest = ledger.claim_next(WORKER, named=ids[1])

        assert taken_by_it is not None
        assert (taken_by_it.job.id, rest) == (ids[1], None)

    def test_a_message_s_job_of_another_queue_stays_there(self, ledger: Ledger) -> None:
        job = submitted(ledger)

        assert ledger.claim_next(worker("gpu-3", model=LIGHTNING), named=job.id) is None
        assert ledger.get(job.id).attempt == 0

    def test_messages_that_stand_do_not_hold_their_tenant_back(self, ledger: Ledger) -> None:
        a = all_submitted(ledger, several(8, tenant="a"))
        ledger.take_window(QUEUE, size=8)
        b = all_submitted(ledger, several(8, tenant="b"))

        assert taken(ledger, 4) == [a[0], b[0], a[1], b[1]]

    def test_some_are_claimed_at_once_in_their_turn(self, ledger: Ledger) -> None:
        a = all_submitted(ledger, several(4, tenant="a"))
        b = all_submitted(ledger, several(4, tenant="b"))

        first = {lease.job.id for lease in ledger.claim_some(WORKER, most=3)}
        rest = {lease.job.id for lease in ledger.claim_some(WORKER, most=9)}

        assert first == {a[0], b[0], a[1]}
        assert first | rest == {*a, *b}
        assert ledger.claim_some(WORKER, most=9) == []

    def test_who_claims_some_at_once_shares_none(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(12))

        found = at_once([partial(ledger.claim_some, WORKER, most=3)] * 4)

        claimed_ids = [lease.job.id for some in found for lease in some]
        assert len(claimed_ids) == len({*claimed_ids})
        assert {*claimed_ids} <= {*ids}

    def test_a_window_never_holds_more_than_its_size(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(10))

        first = list(ledger.take_window(QUEUE, size=4))
        more = list(ledger.take_window(QUEUE, size=4))
        larger = list(ledger.take_window(QUEUE, size=6))
        smaller = list(ledger.take_window(QUEUE, size=2))

        assert (first, more, larger, smaller) == (ids[:4], [], ids[4:6], [])

    def test_a_claimed_job_leaves_the_window(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(4))
        ledger.take_window(QUEUE, size=2)
        ledger.claim(ids[0], WORKER)

        assert list(ledger.take_window(QUEUE, size=2)) == [ids[2]]

    def test_windows_taken_at_once_hold_no_more_than_one(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(20))

        windows = at_once([partial(ledger.take_window, QUEUE, size=5)] * 8)

        taken_ids = [job_id for window in windows for job_id in window]
        assert sorted(taken_ids) == ids[:5]

    def test_a_job_is_marked_as_dispatched(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        ledger.take_window(QUEUE, size=1)

        assert job.dispatched_at is None
        assert ledger.get(job.id).dispatched_at is not None

    def test_a_window_of_another_queue_is_its_own(self, ledger: Ledger) -> None:
        submitted(ledger)

        assert list(ledger.take_window(LIGHTNING.queue, size=5)) == []

    def test_what_stands_long_is_found(self, ledger: Ledger, let_pass: LetPass) -> None:
        old = all_submitted(ledger, several(2))
        ledger.take_window(QUEUE, size=2)
        let_pass(MINUTE)
        all_submitted(ledger, several(2, tenant="b"))
        ledger.take_window(QUEUE, size=4)

        assert sorted(ledger.standing(QUEUE, older_than=30 * SECOND)) == old
        assert list(ledger.standing(QUEUE, older_than=2 * MINUTE)) == []
        assert list(ledger.standing(LIGHTNING.queue, older_than=30 * SECOND)) == []

    def test_what_runs_or_never_stood_is_not_standing(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        ids = all_submitted(ledger, several(3))
        ledger.take_window(QUEUE, size=2)
        ledger.claim(ids[0], WORKER)
        let_pass(MINUTE)

        assert list(ledger.standing(QUEUE, older_than=SECOND)) == [ids[1]]

    def test_a_job_whose_message_is_gone_may_be_dispatched_again(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(3))
        ledger.take_window(QUEUE, size=2)

        ledger.undispatch([ids[0], UNKNOWN])

        assert ledger.get(ids[0]).dispatched_at is None
        assert list(ledger.take_window(QUEUE, size=2)) == [ids[0]]

    def test_a_running_job_keeps_the_mark_of_its_dispatch(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        ledger.take_window(QUEUE, size=1)
        lease = claimed(ledger, job)

        ledger.undispatch([job.id])
        ledger.undispatch([])

        assert ledger.get(job.id) == lease.job

    def test_a_job_to_be_tried_again_is_dispatched_again(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        ledger.take_window(QUEUE, size=1)
        ledger.fail(claimed(ledger, job), failure())

        assert list(ledger.take_window(QUEUE, size=1)) == [job.id]

    def test_a_retry_whose_pause_has_ended_is_taken_before_any_tick(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        later = submitted(ledger, new("make it blue"))
        retried = backing_off(ledger)
        let_pass(2 * MINUTE)

        assert taken(ledger, 2) == [later.id, retried]

    def test_a_job_that_backs_off_stands_before_nobody(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        retried = backing_off(ledger)
        later = submitted(ledger, new("make it blue"))
        meanwhile = before(ledger, later.id)
        let_pass(2 * MINUTE)
        awake = ledger.wake(QUEUE)

        assert meanwhile == 0
        assert (awake, before(ledger, later.id), before(ledger, retried)) == (1, 1, 0)
        assert ledger.get(retried).not_before is None

    def test_only_a_pause_that_has_ended_is_ended(self, ledger: Ledger, let_pass: LetPass) -> None:
        retried = backing_off(ledger)

        assert ledger.wake(QUEUE) == 0
        assert ledger.get(retried).not_before is not None
        let_pass(2 * MINUTE)
        assert ledger.wake(LIGHTNING.queue) == 0
        assert [ledger.wake(QUEUE), ledger.wake(QUEUE)] == [1, 0]

    def test_queues_with_jobs_or_workers_are_known(self, ledger: Ledger, let_pass: LetPass) -> None:
        ledger.register(worker("gpu-3", model=LIGHTNING))
        ledger.register(worker("gpu-4", model=LIGHTNING))
        everywhere = ledger.queues()
        submitted(ledger)
        let_pass(WORKER_TIMEOUT + SECOND)
        ledger.renew(worker("gpu-4").id, [])

        assert everywhere == {QUEUE: 1, LIGHTNING.queue: 2}
        assert ledger.queues() == {QUEUE: 0, LIGHTNING.queue: 1}

    def test_a_queue_of_nobody_is_none(self, ledger: Ledger) -> None:
        completed(ledger, claimed(ledger))
        ledger.retire(WORKER.id)

        assert ledger.queues() == {}
