"""Any sequence of calls keeps the ledger's promises, and the fake does what Postgres does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from jobs.errors import FailureClass
from jobs.keys import UNSERVED_GROUP
from jobs.ledger import JobFilter
from jobs.model import Job, NewJob, Priority, WorkerInfo, queue_name
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.states import MOVES, JobState
from jobs.testing import MemoryLedger
from tests.conformance.scenes import (
    LIGHTNING,
    MODEL,
    OTHER,
    WORKER,
    Clock,
    asked,
    failure,
    new,
    worker,
)
from tests.conformance.worlds import Reported, World, answer
from tests.services import empty, let_pass_in

#: Time passes by whole minutes and spans end between them, so that nothing is due just then.
SPAN: Final = timedelta(seconds=90)
SPANS: Final = st.sampled_from([None, SPAN])
WORKERS: Final = st.sampled_from([WORKER, OTHER, WORKER, OTHER, worker("gpu-3", model=LIGHTNING)])


End = tuple[Any, ...]  # what a worker calls at the end of an attempt, and what with
ENDS: Final[st.SearchStrategy[End]] = st.one_of(
    st.tuples(st.just("complete"), st.sampled_from(["picture", "other"])),
    st.tuples(
        st.just("fail"),
        st.sampled_from(FailureClass).map(failure),
        st.sampled_from([timedelta(0), SPAN]),
    ),
    st.just(("hand_back",)),
    st.just(("confirm_cancel",)),
)


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    """Few different ones, so that they meet."""
    return NewJob(
        request=asked(
            draw(st.sampled_from(["red", "blue"])),
            profile=draw(st.sampled_from(["fast", "fast", "turbo", "unheard-of"])),
        ),
        tenant=draw(st.sampled_from(["a", "b"])),
        idempotency_key=draw(st.sampled_from([None, None, "k1", "k2"])),
        salt=draw(st.sampled_from(["", "1", "2", "3"])),
        priority=draw(st.sampled_from([Priority.NORMAL, Priority.BULK])),
        max_failures=draw(st.integers(1, 3)),
        start_within=draw(SPANS),
        run_limit=draw(SPANS),
        keep_for=draw(SPANS),
        wait_for_model=draw(st.booleans()),
    )


class LedgerMachine(RuleBasedStateMachine):
    """Leases are never thrown away, so stale ones keep coming back to try their luck.

    With two worlds, each act is done in both, and has the same outcome in both.
    """

    jobs: Bundle[int] = Bundle("jobs")
    leases: Bundle[int] = Bundle("leases")

    def make_worlds(self) -> tuple[World, ...]:
        return (memory(),)

    def __init__(self) -> None:
        super().__init__()
        self.worlds = self.make_worlds()
        self.seen: dict[int, Job] = {}
        self.newest: dict[int, int] = {}
        self.published: dict[int, object] = {}

    def act(self, what: Callable[[World], object]) -> Any:  # noqa: ANN401 - of many acts
        first, *others = [answer(what, world) for world in self.worlds]
        for other in others:
            assert other == first
        return first

    @initialize(target=jobs)
    def begin(self) -> Any:  # noqa: ANN401 - numbers of jobs
        """Two tenants have jobs, and a worker offers their model."""
        self.act(lambda world: world.register(WORKER))
        self.act(lambda world: world.keep_inputs("a", "b"))
        return self.submit([new(word, tenant=who) for word in ("red", "blue") for who in "ab"])

    # ---- producer

    @rule(target=jobs, jobs=st.lists(new_jobs(), min_size=1, max_size=4))
    def submit_some(self, jobs: list[NewJob]) -> Any:  # noqa: ANN401 - numbers of jobs
        return self.submit(jobs)

    def submit(self, jobs: list[NewJob]) -> Any:  # noqa: ANN401
        outcomes = self.act(lambda world: world.submit(jobs))
        return multiple(*[one[0] for one in outcomes if isinstance(one, tuple) and one[1]])

    @rule(job=jobs, who=st.sampled_from(["ann", "bob"]))
    def cancel(self, job: int, who: str) -> None:
        self.act(lambda world: world.cancel(job, who))

    @rule(target=jobs, job=jobs)
    def replay(self, job: int) -> Any:  # noqa: ANN401 - a number, or none
        found = self.act(lambda world: world.replay(job, "ann"))
        return found[0] if isinstance(found, tuple) and found[1] else multiple()

    # ---- worker

    @rule(target=leases, job=jobs, worker=WORKERS)
    def claim(self, job: int, worker: WorkerInfo) -> Any:  # noqa: ANN401 - a number, or none
        return self.claimed(self.act(lambda world: world.claim(job, worker, SPAN)))

    @rule(target=leases, worker=WORKERS)
    def claim_next(self, worker: WorkerInfo) -> Any:  # noqa: ANN401 - a number, or none
        return self.claimed(self.act(lambda world: world.claim_next(worker, SPAN)))

    def claimed(self, lease: Any) -> Any:  # noqa: ANN401
        if lease is None:
            return multiple()
        job, attempt, *_ = lease
        assert attempt > self.newest.get(job, 0)
        assert job not in self.published
        self.newest[job] = attempt
        return len(self.worlds[0].leases) - 1

    @rule(target=leases, worker=WORKERS, job=jobs)
    def claim_named(self, worker: WorkerInfo, job: int) -> Any:  # noqa: ANN401 - a number, or none
        return self.claimed(self.act(lambda world: world.claim_next(worker, SPAN, job)))

    @rule(worker=WORKERS, held=st.lists(st.tuples(leases, st.integers(0, 9)), max_size=3))
    def renew(self, worker: WorkerInfo, held: list[tuple[int, int]]) -> None:
        by_job = {self.job_of(lease): Reported(lease=lease, done=done) for lease, done in held}
        self.act(lambda world: world.renew(worker, [*by_job.values()], SPAN))

    @rule(lease=leases, how=ENDS)
    def end(self, lease: int, how: End) -> None:
        """Fresh or stale: only an attempt that is the newest may have an effect."""
        before = self.worlds[0].facts(self.worlds[0].jobs()[self.job_of(lease)])
        after = self.act(lambda world: world.end(lease, how))
        if not isinstance(after, dict) or after == before:
            return
        job = self.job_of(lease)
        assert job not in self.published
        assert self.attempt_of(lease) == self.newest[job]
        if after["result"]:
            self.published[job] = after["result"]

    @rule(target=leases, worker=WORKERS, how=ENDS)
    def take_one_and_end_it(self, worker: WorkerInfo, how: End) -> Any:  # noqa: ANN401 - a number
        lease = self.claimed(self.act(lambda world: world.claim_next(worker, SPAN)))
        if isinstance(lease, int):
            self.end(lease, how)
        return lease

    @rule(worker=WORKERS, comes=st.booleans())
    def come_or_go(self, worker: WorkerInfo, *, comes: bool) -> None:
        self.act(lambda world: world.register(worker) if comes else world.retire(worker))

    # ---- supervisor

    @rule(worker=WORKERS)
    def lose_worker(self, worker: WorkerInfo) -> None:
        self.act(lambda world: world.lose_worker(worker))

    # ---- reconciler

    @rule(minutes=st.integers(1, 3), tick=st.booleans())
    def let_pass(self, minutes: int, *, tick: bool) -> None:
        for world in self.worlds:
            world.let_pass(timedelta(minutes=minutes))
        if tick:
            self.act(lambda world: world.expire())
            self.act(lambda world: world.wake())

    @rule(group=st.sampled_from(["default", "lightning", UNSERVED_GROUP]))
    def reroute(self, group: str) -> None:
        self.act(lambda world: world.reroute(queue_name(MODEL.name, group)))

    @rule(size=st.integers(1, 4), gone=st.lists(jobs, max_size=1))
    def take_window(self, size: int, gone: list[int]) -> None:
        self.act(lambda world: world.undispatch(gone))
        standing = self.act(lambda world: world.standing(-SPAN))
        fresh = self.act(lambda world: world.take_window(size))
        assert not fresh or len(standing) + len(fresh) <= size
        assert not {*standing} & {*fresh}

    @rule(job=jobs)
    def ask(self, job: int) -> None:
        self.act(lambda world: world.place(job))
        self.act(lambda world: world.counts(JobFilter(tenant="a")))
        self.act(lambda world: world.standing(SPAN))
        self.act(lambda world: world.queues())
        self.act(lambda world: world.models())

    # ---- promises

    @invariant()
    def worlds_are_equal(self) -> None:
        self.act(lambda world: [world.facts(job) for job in world.jobs()])

    @invariant()
    def promises_are_kept(self) -> None:
        for number, job in enumerate(self.worlds[0].jobs()):
            self.check_job(number, job)
            self.check_step(self.seen.get(number), job)
            self.seen[number] = job

    def check_job(self, number: int, job: Job) -> None:
        assert 0 <= job.failures <= job.attempt == self.newest.get(number, 0)
        assert job.state is not JobState.QUEUED or job.failures < job.max_failures
        assert (job.state is JobState.RUNNING) == (job.holder is not None)
        assert (job.state is JobState.SUCCEEDED) == (number in self.published)
        assert (job.result is None) == (job.state is not JobState.SUCCEEDED)
        assert job.state.is_final == (job.finished_at is not None)

    def check_step(self, before: Job | None, job: Job) -> None:
        if before is None:
            return
        assert before.attempt <= job.attempt
        assert before.failures <= job.failures
        if before.state.is_final:
            assert (before.state, before.result, before.failure) == (
                job.state,
                job.result,
                job.failure,
            )

    def teardown(self) -> None:
        for number in range(len(self.worlds[0].ids)):
            moves = self.act(lambda world, job=number: world.history(job))  # type: ignore[misc]
            check_audit(moves, self.seen[number])

    def job_of(self, lease: int) -> int:
        world = self.worlds[0]
        return world.number(world.leases[lease].job.id)

    def attempt_of(self, lease: int) -> int:
        return self.worlds[0].leases[lease].attempt


def check_audit(moves: list[Any], job: Job) -> None:
    """Each move starts where the one before ended, is legal, and the last one ends here."""
    state, claims = None, 0
    for who, before, after, attempt, why in moves:
        assert before is state
        assert before is None or after in MOVES[before]
        claims += after is JobState.RUNNING
        assert attempt == claims
        assert who
        assert why
        state = after
    assert (state, claims) == (job.state, job.attempt)


def memory() -> World:
    clock = Clock()
    return World(ledger=MemoryLedger(clock), let_pass=clock.advance)


def postgres(database: Database) -> World:
    empty(database)
    return World(ledger=PostgresLedger(database), let_pass=lambda span: let_pass_in(database, span))


def settled(*, examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=[*HealthCheck],
    )


def test_any_sequence_of_calls_keeps_the_promises() -> None:
    run_state_machine_as_test(LedgerMachine, settings=settled(examples=200, steps=40))


def test_postgres_and_the_fake_do_the_same(database: Database) -> None:
    class Both(LedgerMachine):
        def make_worlds(self) -> tuple[World, ...]:
            return memory(), postgres(database)

    run_state_machine_as_test(Both, settings=settled(examples=60, steps=40))
