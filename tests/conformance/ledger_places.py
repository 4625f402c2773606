"""Where a job stands in its line, and when it will start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.ledger import Ledger
from jobs.model import JobId, NewJob, Priority
from tests.conformance.scenes import (
    HOUR,
    LIGHTNING,
    OTHER,
    SECOND,
    WORKER,
    LetPass,
    all_submitted,
    asked,
    before,
    claimed,
    completed,
    holding,
    new,
    several,
    submitted,
    worker,
)


def practised(ledger: Ledger, seconds: float, *, profile: str = "quality") -> None:
    """Two jobs of the profile have taken this long, by the mean."""
    for factor in (0.5, 1.5):
        job = submitted(ledger, of(profile, f"{profile} {factor}"))
        completed(ledger, claimed(ledger, job), card=factor * seconds)


def of(profile: str, name: str) -> NewJob:
    return NewJob(request=asked(name, profile=profile))


def starts_in(ledger: Ledger, job_id: JobId) -> float | None:
    place = ledger.place(job_id)
    assert place is not None
    return None if place.starts_in is None else place.starts_in.total_seconds()


class PlaceConformance:
    def test_a_batch_stands_before_another_tenant_s_job_only_once(self, ledger: Ledger) -> None:
        many = all_submitted(ledger, several(30, tenant="a"))
        one = submitted(ledger, new(tenant="b")).id

        assert before(ledger, one) == 1
        assert [before(ledger, many[place]) for place in (0, 1, 29)] == [0, 2, 30]

    def test_who_has_jobs_on_cards_stands_further_back(self, ledger: Ledger) -> None:
        many = all_submitted(ledger, several(6, tenant="a"))
        for job_id in many[:2]:
            claimed(ledger, ledger.get(job_id))
        others = all_submitted(ledger, several(3, tenant="b"))

        assert [before(ledger, one) for one in others] == [0, 1, 3]
        assert [before(ledger, one) for one in many[2:]] == [2, 4, 5, 6]

    def test_places_are_the_order_of_the_claims(self, ledger: Ledger) -> None:
        ids = [
            *all_submitted(ledger, several(4, tenant="a")),
            *all_submitted(ledger, several(2, tenant="b")),
            *all_submitted(ledger, several(3, tenant="c", priority=Priority.INTERACTIVE)),
        ]
        places = {before(ledger, job_id): job_id for job_id in ids}

        leases = [ledger.claim_next(WORKER) for _ in ids]

        assert [lease.job.id for lease in leases if lease] == [places[n] for n in range(9)]

    def test_nothing_is_told_of_a_start_without_history(self, ledger: Ledger) -> None:
        first, second = all_submitted(ledger, several(2))
        claimed(ledger, ledger.get(first))

        assert starts_in(ledger, second) is None

    def test_a_free_card_starts_a_job_now(self, ledger: Ledger) -> None:
        assert starts_in(ledger, submitted(ledger).id) == 0

    def test_a_job_starts_when_those_before_it_are_through(self, ledger: Ledger) -> None:
        practised(ledger, 10.0)
        first, second, third = all_submitted(ledger, several(3))
        lease = claimed(ledger, ledger.get(first))
        ledger.renew(WORKER.id, [holding(lease, 3, 4)], lease=HOUR)

        assert starts_in(ledger, second) == pytest.approx(2.5)
        assert starts_in(ledger, third) == pytest.approx(12.5)

    def test_cards_share_what_stands_before(self, ledger: Ledger) -> None:
        practised(ledger, 10.0)
        ids = all_submitted(ledger, several(10))
        alone = starts_in(ledger, ids[-1])
        ledger.register(OTHER)

        assert alone == pytest.approx(90.0)
        assert starts_in(ledger, ids[-1]) == pytest.approx(45.0)

    def test_each_profile_takes_its_own_time(self, ledger: Ledger) -> None:
        practised(ledger, 40.0)
        practised(ledger, 4.0, profile="fast")
        slow = submitted(ledger, of("quality", "slow"))
        claimed(ledger, slow)
        quick = submitted(ledger, of("fast", "quick"))
        last = submitted(ledger, of("quality", "last"))

        assert starts_in(ledger, quick.id) == pytest.approx(40.0)
        assert starts_in(ledger, last.id) == pytest.approx(44.0)

    def test_of_a_profile_without_history_nothing_is_told(self, ledger: Ledger) -> None:
        practised(ledger, 40.0)
        claimed(ledger, submitted(ledger, of("fast", "quick")))
        last = submitted(ledger, of("quality", "last"))

        assert starts_in(ledger, last.id) is None

    def test_without_a_live_worker_nothing_is_told(self, ledger: Ledger) -> None:
        practised(ledger, 10.0)
        ledger.retire(WORKER.id)
        ledger.register(worker("gpu-3", model=LIGHTNING))

        assert starts_in(ledger, submitted(ledger).id) is None

    def test_what_was_long_ago_tells_nothing(self, ledger: Ledger, let_pass: LetPass) -> None:
        practised(ledger, 10.0)
        let_pass(timedelta(days=1) + SECOND)
        ledger.register(WORKER)
        first, second = all_submitted(ledger, several(2))
        claimed(ledger, ledger.get(first))

        assert starts_in(ledger, second) is None
