"""A sweep over the fakes: what goes, in which order, and what is never touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from jobs.errors import Unavailable
from jobs.model import ArtifactKey, Job, JobId, Lease, Result, input_key, output_key
from jobs.sweep import Policy, Sweep, Swept
from jobs.testing import MemoryArtifacts, MemoryLedger
from tests.conformance.scenes import (
    DIGEST,
    HOUR,
    OTHER,
    WORKER,
    Clock,
    claimed,
    failed,
    new,
    submitted,
)

DAY = 24 * HOUR
POLICY = Policy(keep_jobs=90 * DAY, keep_inputs=30 * DAY, orphan_age=DAY)


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = MemoryLedger(self.clock)
        self.ledger.register(WORKER)
        self.artifacts = MemoryArtifacts(self.clock)

    def sweep(self, **changes: int) -> Sweep:
        policy = Policy(
            keep_jobs=POLICY.keep_jobs,
            keep_inputs=POLICY.keep_inputs,
            orphan_age=POLICY.orphan_age,
            **changes,
        )
        return Sweep(
            ledger=self.ledger,
            retention=self.ledger,
            artifacts=self.artifacts,
            policy=policy,
            clock=self.clock,
        )

    def upload(self, lease: Lease) -> ArtifactKey:
        key = output_key(lease)
        self.artifacts.put(key, b"pixels", media_type="image/png")
        return key

    def done(self, word: str = "red", keep_for: timedelta | None = None) -> Job:
        lease = claimed(self.ledger, submitted(self.ledger, new(word, keep_for=keep_for)))
        result = Result(
            key=self.upload(lease),
            sha256=DIGEST,
            bytes=6,
            media_type="image/png",
            width=1,
            height=1,
        )
        return self.ledger.complete(lease, result, timings={})

    def after(self, span: timedelta) -> None:
        self.clock.advance(span)
        self.ledger.renew(WORKER.id, [])  # it lives

    def objects(self) -> set[ArtifactKey]:
        return {*self.artifacts.keys("")}


def counts(found: Sequence[Swept]) -> dict[str, tuple[int, int | None]]:
    return {one.kind: (one.count, one.bytes) for one in found if one.count}


def test_a_look_changes_nothing_and_tells_what_would_go() -> None:
    world = World()
    world.done("red", keep_for=HOUR)
    world.done("blue")
    failed(world.ledger, new("green"))
    world.after(91 * DAY)
    before = world.objects()

    looked = world.sweep().look()
    again = world.sweep().look()
    acted = world.sweep().act()

    assert looked == again
    assert counts(looked) == counts(acted) == {"results": (2, 12), "jobs": (3, None)}
    assert (len(before), world.objects()) == (2, set())
    assert counts(world.sweep().act()) == {}


def test_an_expired_result_goes_and_its_job_stays() -> None:
    world = World()
    job, kept = world.done("red", keep_for=HOUR), world.done("blue")
    world.after(2 * HOUR)

    world.sweep().act()

    assert world.ledger.get(job.id).result_deleted_at is not None
    assert kept.result is not None
    assert world.objects() == {kept.result.key}


def test_nothing_is_deleted_that_is_announced_still() -> None:
    """The ledger says so first; a sweep that is killed then leaves an orphan for the next."""

    class Away(MemoryArtifacts):
        def delete(self, keys: Sequence[ArtifactKey]) -> None:
            for key in keys:
                job = world.ledger.get(JobId(job_id))
                assert job.result is not None
                assert job.result.key == key
                assert job.result_deleted_at is not None
            raise Unavailable("S3 does not answer")

    world = World()
    healthy, world.artifacts = world.artifacts, Away(world.clock)
    job_id = world.done("red", keep_for=HOUR).id
    world.after(2 * DAY)

    with pytest.raises(Unavailable):
        world.sweep().act()
    for one in world.artifacts.stored(""):
        healthy.put(one.key, b"pixels", media_type="image/png")
    world.artifacts = healthy
    world.after(2 * DAY)

    assert counts(world.sweep().act()) == {"orphaned outputs": (1, 6)}
    assert world.objects() == set()


def test_outputs_that_no_job_announces_go_when_they_are_old() -> None:
    world = World()
    stale = claimed(world.ledger, submitted(world.ledger))
    lost = world.upload(stale)
    world.ledger.hand_back(stale, why="drain")
    fresh = claimed(world.ledger, stale.job, by=OTHER, lease=365 * DAY)
    running = world.upload(fresh)

    young = counts(world.sweep().act())
    world.after(2 * DAY)
    old = counts(world.sweep().act())

    assert (young, old) == ({}, {"orphaned outputs": (1, 6)})
    assert lost not in world.objects()
    assert world.objects() == {running}


@pytest.mark.parametrize("end", ["queued", "failed", "cancelled", "removed"])
def test_an_attempt_that_ended_badly_leaves_an_orphan(end: str) -> None:
    world = World()
    lease = claimed(world.ledger, submitted(world.ledger), lease=365 * DAY)
    world.upload(lease)
    if end in {"failed", "removed"}:
        world.ledger.confirm_cancel(lease)
    elif end == "cancelled":
        world.ledger.cancel(lease.job.id, who="ann")
        world.ledger.confirm_cancel(lease)
    else:
        world.ledger.hand_back(lease, why="drain")
    world.after(91 * DAY if end == "removed" else 2 * DAY)

    assert counts(world.sweep().act())["orphaned outputs"] == (1, 6)
    assert world.objects() == set()


def test_a_picture_that_is_being_announced_is_never_an_orphan() -> None:
    world = World()
    job = world.done()
    lease = claimed(world.ledger, submitted(world.ledger, new("blue")), lease=365 * DAY)
    key = world.upload(lease)
    world.after(2 * DAY)

    assert counts(world.sweep().act()) == {}
    assert job.result is not None
    assert world.objects() == {key, job.result.key}


def test_what_is_not_ours_or_newer_than_the_ledger_is_left_alone() -> None:
    world = World()
    job = submitted(world.ledger)
    strange = ["a/outputs/x/1.png", f"a/outputs/{job.id}/latest.png", "doctor/probe", "readme"]
    newer = f"default/outputs/{job.id}/7.png"  # the ledger was restored from a backup
    for name in (*strange, newer):
        world.artifacts.put(ArtifactKey(name), b"pixels", media_type="image/png")
    world.after(2 * DAY)

    assert counts(world.sweep().act()) == {}
    assert len(world.objects()) == 5


def test_unused_inputs_go_and_unrecorded_ones_age_first() -> None:
    world = World()
    used, lone = input_key("a", DIGEST), input_key("a", "b" * 64)
    for key in (used, lone):
        world.artifacts.put(key, b"pixels", media_type="image/png")
    world.ledger.record_input("a", DIGEST, size=6, media_type="image/png")
    world.after(31 * DAY)

    looked = counts(world.sweep().look())
    first = counts(world.sweep().act())
    left = world.objects()
    world.after(31 * DAY)
    second = counts(world.sweep().act())

    assert looked == first == {"inputs": (1, 6), "unrecorded inputs": (1, 6)}
    assert left == {lone}
    assert (second, world.objects()) == ({"inputs": (1, 6)}, set())


def test_a_run_is_bounded_and_says_so() -> None:
    world = World()
    for number in range(3):
        failed(world.ledger, new(str(number)))
    world.after(91 * DAY)

    (jobs,) = [one for one in world.sweep(most=2).act() if one.kind == "jobs"]
    (rest,) = [one for one in world.sweep(most=2).act() if one.kind == "jobs"]

    assert (jobs.count, jobs.partial) == (2, True)
    assert (rest.count, rest.partial) == (1, False)


def test_workers_that_are_gone_are_forgotten() -> None:
    world = World()
    world.ledger.register(OTHER)
    world.after(91 * DAY)

    assert counts(world.sweep().act()) == {"workers": (1, None)}
