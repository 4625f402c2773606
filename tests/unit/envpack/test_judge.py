"""The judge promotes, waits or rolls back by the numbers alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.node.errors import InvalidManifest
from envpack.pack.judge import (
    Judgement,
    Limits,
    Verdict,
    by_chance,
    difference,
    judge,
    told,
    wilson,
)

OLD, NEW = "a" * 64, "b" * 64
LIMITS = Limits()
ORDER = [Verdict.PROMOTE, Verdict.WAIT, Verdict.ROLL_BACK]


def figures(release: str = NEW, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A good release; ``errors`` is a count, ``memory`` of which out of memory."""
    given_ = {"attempts": 1_000, "errors": 5, "memory": 0, "median": 10.0, "spread": 0.2, **changes}
    half, median = given_["spread"], given_["median"]
    card = (
        {"count": given_.get("timed", 900), "median": median, "p95": 2 * median} if median else None
    )
    if card:
        card |= {"low": median - half, "high": median + half}
    errors = {"transient": given_["errors"] - given_["memory"], "resource": given_["memory"]}
    return {
        "release": release,
        "attempts": given_["attempts"],
        "errors": errors,
        "out_of_memory": given_["memory"],
        "seconds": {"card": card, "total": card},
        "golden": {"psnr": given_.get("golden", {"mug": 100.0, "shirt": 61.5})},
    }


def report(*canaries: dict[str, Any], **baseline: Any) -> dict[str, Any]:  # noqa: ANN401
    old = figures(OLD, **{"attempts": 5_000, "errors": 25, **baseline})
    return {"by": "release", "baseline": OLD, "releases": [old, *(canaries or [figures()])]}


def judged(made: Any, limits: Limits = LIMITS) -> Judgement:  # noqa: ANN401
    return judge(made, limits, baseline=OLD)


@pytest.mark.parametrize(
    ("canary", "verdict", "because"),
    [
        ({}, "promote", "attempts"),
        ({"attempts": 199, "errors": 0}, "wait", "199 of at least 200"),
        ({"attempts": 0, "errors": 0, "median": 0, "golden": {}}, "wait", "0 of at least 200"),
        ({"attempts": 1_000, "errors": 25}, "roll back", "25 of 1000 (2.50%)"),
        # ten of ten failed: no need to wait for the other 190
        ({"attempts": 10, "errors": 10}, "roll back", "10 of 10"),
        # one of ten may be chance
        ({"attempts": 10, "errors": 1}, "wait", "1 of 10"),
        ({"attempts": 300, "errors": 4}, "wait", "by chance 0."),
        ({"errors": 9, "memory": 9}, "roll back", "out of memory: 9 of 1000"),
        ({"median": 13.0}, "roll back", "1.30 times"),
        ({"median": 12.4}, "wait", "1.24 times"),
        ({"median": 12.0}, "promote", "1.20 times"),
        ({"median": 5.0}, "promote", "0.50 times"),
        # a wide spread decides nothing
        ({"median": 14.0, "spread": 6.0}, "wait", "0.78"),
        ({"median": 0}, "wait", "timed 0 against 900"),
        # five slow ones may be chance, however near they are to each other
        ({"median": 30.0, "timed": 5}, "wait", "timed 5 against 900, each at least 6"),
        ({"median": 30.0, "timed": 6}, "roll back", "3.00 times"),
        ({"golden": {"mug": 100.0, "shirt": 34.9}}, "roll back", "shirt with 34.9 dB"),
        ({"golden": {"mug": 35.0}}, "promote", "mug with 35.0 dB"),
        ({"golden": {}}, "wait", "no golden picture"),
    ],
)
def test_the_numbers_decide(canary: dict[str, Any], verdict: str, because: str) -> None:
    found = judged(report(figures(**canary)))

    assert found.verdict == verdict, told(found)
    assert because in told(found)


def test_golden_pictures_can_be_left_out() -> None:
    found = judged(report(figures(golden={})), Limits(psnr=None))

    assert found.verdict == "promote"


def test_a_bad_baseline_does_not_make_a_canary_bad() -> None:
    found = judged(report(figures(errors=300), errors=1_500))

    assert found.verdict != "roll back"


@settings(max_examples=200)
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=5), st.integers(0, 3))
def test_a_few_slow_attempts_never_roll_back(slow: list[float], of_baseline: int) -> None:
    """As the report sums them up: the bounds of few values are the values."""
    spent = {"count": len(slow), "low": min(slow), "median": min(slow), "high": max(slow)}
    made = report()
    made["releases"][1]["seconds"]["card"] = spent
    assert judged(made).verdict == Verdict.WAIT

    made = report(figures(median=500.0))
    made["releases"][0]["seconds"]["card"] |= {"count": of_baseline}
    assert judged(made).verdict == Verdict.WAIT


def test_an_answer_is_json_with_its_numbers() -> None:
    found = json.loads(json.dumps(judged(report()).as_json()))

    assert found["verdict"] == "promote"
    assert {one["name"] for one in found["checks"]} == {
        *("attempts", "errors", "out of memory", "seconds", "golden")
    }
    assert found["checks"][1]["numbers"]["rate"] == 0.005


# ---- who is who


def test_of_several_canaries_one_is_named() -> None:
    both = report(figures(), figures("c" * 64, errors=900))

    with pytest.raises(InvalidManifest, match=r"name one; .* bbbbbbbbbbbb, cccccccccccc"):
        judged(both)
    assert judge(both, LIMITS, canary="ccc").verdict == "roll back"
    assert judge(both, LIMITS, canary="bbb").verdict == "promote"


def test_a_canary_that_ran_more_than_the_other_is_not_taken_for_the_baseline() -> None:
    made = report(figures(attempts=490, errors=40), attempts=401, errors=1)
    assert judge(made, LIMITS, canary=NEW).verdict == "roll back"

    made["baseline"] = NEW  # as a report has it that was told none
    for named in ({}, {"canary": NEW}, {"baseline": OLD}):
        with pytest.raises(InvalidManifest, match="--"):
            judge(made, LIMITS, **named)


def test_workers_without_a_release_are_nobody() -> None:
    both = report()
    both["releases"].append({**figures(), "release": None})

    assert judged(both).canary == NEW


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"canary": "x"}, "canary: 'x' is not one"),
        ({"canary": OLD}, "is the baseline of this report: .* --baseline"),
        ({"baseline": "x"}, "baseline: 'x' is not one"),
        ({"canary": ""}, "canary: '' is not one"),  # a variable that a pipeline has not set
        ({"canary": NEW, "baseline": ""}, "baseline: '' is not one"),
        ({"baseline": NEW}, "compared with those of aaaaaaaaaaaa: make it with --baseline bbbb"),
        ({}, "name the release that is tried out"),
    ],
)
def test_an_unknown_release_is_answered_with_the_known(names: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidManifest, match=said):
        judge(report(), LIMITS, **names)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        None,
        {"by": "card", "releases": []},
        {"by": "release", "baseline": None, "releases": []},
        {"by": "release", "baseline": OLD, "releases": [{"release": OLD}]},
        {"by": "release", "baseline": OLD, "releases": [figures(OLD, attempts=1, errors=2)]},
    ],
)
def test_what_is_no_report_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidManifest):
        judged(wrong)


@pytest.mark.parametrize(
    "counts_",
    [
        {"attempts": 10**400},
        {"attempts": 10**400, "errors": 10**400},
        {"attempts": 10**9, "errors": 10**9},  # the exact test would take an hour
        {"timed": 10**400},
        {"timed": -1},
    ],
)
def test_counts_that_no_report_makes_are_refused(counts_: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest, match=rf"^report: {NEW}: .*0 to 1,000,000$"):
        judged(report(figures(**counts_)))


@pytest.mark.parametrize(
    "limits",
    [
        *({"minimum": 0}, {"chance": 0}, {"tolerance": 0}, {"slower": 0}),
        *({"tolerance": float("nan")}, {"slower": float("nan")}),
    ],
)
def test_limits_that_decide_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest):
        Limits(**limits)


# ---- for any numbers


counts = st.integers(0, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_one_more_error_never_helps(new: tuple[int, int], old: tuple[int, int]) -> None:
    bad, tried = new
    base = {"errors": old[0], "attempts": old[1]}
    verdicts = [
        judged(report(figures(errors=errors, attempts=tried), **base)).verdict
        for errors in (bad, min(bad + 1, tried))
    ]

    assert ORDER.index(verdicts[0]) <= ORDER.index(verdicts[1])


@given(counts)
def test_the_same_numbers_are_never_rolled_back(both: tuple[int, int]) -> None:
    same: dict[str, Any] = {"errors": both[0], "attempts": both[1]}

    assert judged(report(figures(**same), **same)).verdict != Verdict.ROLL_BACK


@given(counts, counts)
def test_chance_is_a_probability_and_bounds_hold_the_estimate(
    new: tuple[int, int], old: tuple[int, int]
) -> None:
    low, high = difference(*new, *old)
    rates = [bad / tried if tried else 0.0 for bad, tried in (new, old)]

    assert 0 <= by_chance(*new, *old) <= 1
    assert low <= rates[0] - rates[1] <= high
    assert wilson(*new)[0] - 1e-9 <= rates[0] <= wilson(*new)[1] + 1e-9


@given(st.floats(0.1, 100), st.floats(0, 50), st.floats(1, 4))
def test_slower_never_helps(median: float, spread: float, factor: float) -> None:
    spread = min(spread, median * 0.9)
    verdicts = [
        judged(report(figures(median=median * one, spread=spread * one))).verdict
        for one in (1, factor)
    ]

    assert ORDER.index(verdicts[0]) <= ORDER.index(verdicts[1])


def test_chance_is_fishers() -> None:
    # R: fisher.test(matrix(c(3, 1, 1, 3), 2), alternative = "greater") → 0.2429
    assert by_chance(3, 4, 1, 4) == pytest.approx(17 / 70)
    # the lady tasting tea, all right: 1 in 70
    assert by_chance(4, 4, 0, 4) == pytest.approx(1 / 70)


def test_bounds_are_wilsons_and_newcombes() -> None:
    # Newcombe 1998, table II, (a): 56/70 - 48/80, method 10
    low, high = difference(56, 70, 48, 80)

    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
