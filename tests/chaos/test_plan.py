"""The schedule of faults is the seed's alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.plan import OF_LINKS, Kind, Plan, schedule

MINUTE = Plan(seed=1, seconds=60, lease=2, jobs=2_000)
LONG = Plan(seed=1, seconds=600, lease=15, jobs=20_000)


def test_the_same_seed_gives_the_same_faults() -> None:
    assert schedule(MINUTE) == schedule(MINUTE)
    assert schedule(MINUTE) != schedule(Plan(seed=2, seconds=60, lease=2, jobs=2_000))


@pytest.mark.parametrize("plan", [MINUTE, LONG], ids=["minute", "long"])
def test_each_kind_of_fault_comes_and_all_end_in_time(plan: Plan) -> None:
    faults = schedule(plan)

    assert {fault.kind for fault in faults} == set(Kind)
    assert max(fault.ends for fault in faults) < plan.seconds


@pytest.mark.parametrize("plan", [MINUTE, LONG], ids=["minute", "long"])
def test_no_target_has_two_faults_at_once(plan: Plan) -> None:
    faults = schedule(plan)

    for target in {fault.target for fault in faults}:
        own = [fault for fault in faults if fault.target == target]
        assert all(after.at > before.ends for before, after in pairwise(own))


@pytest.mark.parametrize("plan", [MINUTE, LONG], ids=["minute", "long"])
def test_a_worker_is_stopped_and_a_link_is_down_for_longer_than_the_lease(plan: Plan) -> None:
    long = [one for one in schedule(plan) if one.kind in {Kind.STOP_WORKER, *OF_LINKS}]

    assert min(fault.lasts for fault in long) > plan.lease
