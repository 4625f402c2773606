"""Promote, wait or roll back: what the figures of two releases say, and how surely.

A pure function over ``packshot report --by release --json``.  Each check says good, unsure or
bad: one bad check rolls back, all good promote, anything else waits for more attempts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from envpack.node.errors import InvalidManifest

_Z95: Final = 1.959964  # of a normal distribution: two-sided 95 %
#: Of fewer values, not even the least and the greatest hold the median in 95 of 100 cases.
_FEWEST_TIMED: Final = 6
#: A report reads 200,000; the exact test has as many terms, and takes a second for these.
_MOST: Final = 1_000_000


class Verdict(StrEnum):
    PROMOTE = "promote"
    WAIT = "wait"
    ROLL_BACK = "roll back"


class Finding(StrEnum):
    GOOD = "good"
    UNSURE = "unsure"
    BAD = "bad"


EXIT_CODES: Final[Mapping[Verdict, int]] = {
    Verdict.PROMOTE: 0,
    Verdict.WAIT: 20,
    Verdict.ROLL_BACK: 21,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a new release may cost."""

    minimum: int = 200  #: attempts of the canary before it is promoted
    tolerance: float = 0.02  #: more errors per attempt than the baseline, by the 95 % bound
    chance: float = 0.01  #: of rolling back, at one look, a release that is as good
    slower: float = 1.25  #: median seconds on the card, against the baseline's
    psnr: float | None = 35.0  #: dB of each golden picture; ``None``: not asked for

    def __post_init__(self) -> None:
        least = self.minimum >= 1 and self.tolerance > 0 and self.slower >= 1  # false of a NaN
        if not least or not 0 < self.chance < 1:
            raise InvalidManifest(
                "limits: minimum from 1, chance between 0 and 1, tolerance above 0, slower from 1"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Of one release, as the report has them."""

    release: str
    attempts: int
    errors: int
    out_of_memory: int
    timed: int  #: attempts whose seconds on the card are known
    median: tuple[float, float, float] | None  #: seconds on the card: estimate, 95 % bounds
    golden: Mapping[str, float]  #: name → dB


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    name: str
    finding: Finding
    why: str  #: with the numbers
    numbers: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    verdict: Verdict
    canary: str
    baseline: str
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"checks": [asdict(one) for one in self.checks]}


def judge(
    report: Any,  # noqa: ANN401 - any JSON
    limits: Limits,
    *,
    canary: str | None = None,
    baseline: str | None = None,
) -> Judgement:
    """One of both is named, cut short or not: which release is new, no number tells.  The
    baseline defaults to what the report compares with, ``canary`` to the one release beside it.

    Raises ``InvalidManifest`` where that does not say which is which.
    """
    new, old = _sides(report, canary, baseline)
    checks = (
        _enough(new, limits),
        _rate("errors", (new.errors, new.attempts), (old.errors, old.attempts), limits),
        _rate(
            "out of memory",
            (new.out_of_memory, new.attempts),
            (old.out_of_memory, old.attempts),
            limits,
        ),
        _speed(new, old, limits),
        *([] if limits.psnr is None else [_golden(new, limits.psnr)]),
    )
    return Judgement(
        verdict=_verdict(checks), canary=new.release, baseline=old.release, checks=checks
    )


def _sides(report: Any, canary: str | None, baseline: str | None) -> tuple[Figures, Figures]:  # noqa: ANN401 - any JSON
    """The new release and the old one."""
    figures = _figures(report)
    if canary is None and baseline is None:
        raise InvalidManifest("name the release that is tried out: --canary DIGEST")
    compared = report.get("baseline")
    old = _named("baseline", figures, compared if baseline is None else baseline)
    if old.release != compared:
        raise InvalidManifest(
            f"report: its pictures are compared with those of {str(compared)[:12]}: make it with"
            f" --baseline {old.release[:12]}"
        )
    others = [one for one in figures if one.release != old.release]
    if canary is None and len(others) != 1:
        names = ", ".join(one.release[:12] for one in others) or "none"
        raise InvalidManifest(f"canary: name one; beside the baseline there are: {names}")
    new = others[0] if canary is None else _named("canary", figures, canary)
    if new.release == old.release:
        raise InvalidManifest(
            f"canary: {new.release[:12]} is the baseline of this report: packshot report"
            " --by release --baseline DIGEST, of the release from before"
        )
    return new, old


def _verdict(checks: Sequence[Check]) -> Verdict:
    findings = {one.finding for one in checks}
    if Finding.BAD in findings:
        return Verdict.ROLL_BACK
    return Verdict.WAIT if Finding.UNSURE in findings else Verdict.PROMOTE


def told(found: Judgement) -> str:
    """For a person."""
    head = f"{found.verdict}: {found.canary[:12]} against {found.baseline[:12]}"
    return "\n".join([head, *(f"  {one.finding:<7} {one.name}: {one.why}" for one in found.checks)])


# ---- the checks


def _enough(new: Figures, limits: Limits) -> Check:
    enough = new.attempts >= limits.minimum
    return Check(
        name="attempts",
        finding=Finding.GOOD if enough else Finding.UNSURE,
        why=f"{new.attempts} of at least {limits.minimum}",
        numbers={"attempts": new.attempts, "minimum": limits.minimum},
    )


def _rate(name: str, new: tuple[int, int], old: tuple[int, int], limits: Limits) -> Check:
    """Bad when as many errors would rarely come by chance; good when the 95 % bound of what the
    canary has more is small; else the attempts are too few to tell.
    """
    chance = by_chance(*new, *old)
    low, high = difference(*new, *old)
    rates = [bad / tried if tried else 0.0 for bad, tried in (new, old)]
    finding = Finding.UNSURE
    if chance < limits.chance:
        finding = Finding.BAD
    elif high <= limits.tolerance:
        finding = Finding.GOOD
    return Check(
        name=name,
        finding=finding,
        why=(
            f"{new[0]} of {new[1]} ({rates[0]:.2%}) against {old[0]} of {old[1]} ({rates[1]:.2%});"
            f" by chance {chance:.2g}; 95 %: {low:+.2%} to {high:+.2%}"
        ),
        numbers={
            "rate": rates[0],
            "baseline": rates[1],
            "chance": chance,
            "low": low,
            "high": high,
        },
    )


def _speed(new: Figures, old: Figures, limits: Limits) -> Check:
    """By the bounds of both medians: bad when even the kindest reading is too slow."""
    fewest = min(new.timed, old.timed)
    if fewest < _FEWEST_TIMED or new.median is None or old.median is None:
        why = f"timed {new.timed} against {old.timed}, each at least {_FEWEST_TIMED}"
        return Check(name="seconds", finding=Finding.UNSURE, why=why, numbers={"timed": fewest})
    ratio = new.median[0] / old.median[0]
    low, high = new.median[1] / old.median[2], new.median[2] / old.median[1]
    finding = Finding.UNSURE
    if low > limits.slower:
        finding = Finding.BAD
    elif high <= limits.slower:
        finding = Finding.GOOD
    return Check(
        name="seconds",
        finding=finding,
        why=f"{ratio:.2f} times the baseline's on the card; 95 %: {low:.2f} to {high:.2f};"
        f" at most {limits.slower:.2f}",
        numbers={"ratio": ratio, "low": low, "high": high, "limit": limits.slower},
    )


def _golden(new: Figures, limit: float) -> Check:
    """One picture that has changed is one too many: nothing is left to chance here."""
    if not new.golden:
        return Check(
            name="golden", finding=Finding.UNSURE, why="no golden picture compared yet", numbers={}
        )
    worst = min(new.golden, key=new.golden.__getitem__)
    return Check(
        name="golden",
        finding=Finding.GOOD if new.golden[worst] >= limit else Finding.BAD,
        why=f"worst of {len(new.golden)}: {worst} with {new.golden[worst]:.1f} dB, at least"
        f" {limit:.1f}",
        numbers={"psnr_min": new.golden[worst], "limit": limit, "compared": len(new.golden)},
    )


# ---- how sure


def by_chance(bad: int, tried: int, other_bad: int, other_tried: int) -> float:
    """Fisher's exact test, one-sided: how likely so many of all errors, or more, would fall on
    the first by chance alone, if both were equally good.
    """
    errors, total = bad + other_bad, tried + other_tried
    if not tried or not other_tried or not errors:
        return 1.0
    whole = _log_choose(total, tried)
    terms = (
        math.exp(_log_choose(errors, k) + _log_choose(total - errors, tried - k) - whole)
        for k in range(max(bad, tried - (total - errors)), min(errors, tried) + 1)
    )
    return min(1.0, math.fsum(terms))


def _log_choose(among: int, few: int) -> float:
    return math.lgamma(among + 1) - math.lgamma(few + 1) - math.lgamma(among - few + 1)


def wilson(bad: int, tried: int) -> tuple[float, float]:
    """95 % bounds of a rate, good for few attempts and for none that is bad."""
    if not tried:
        return 0.0, 1.0
    rate, square = bad / tried, _Z95**2
    middle = (rate + square / (2 * tried)) / (1 + square / tried)
    spread = math.sqrt(rate * (1 - rate) / tried + square / (4 * tried**2))
    reach = _Z95 * spread / (1 + square / tried)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def difference(bad: int, tried: int, other_bad: int, other_tried: int) -> tuple[float, float]:
    """95 % bounds of the first rate minus the second, from the Wilson bounds of both
    (Newcombe, Statistics in Medicine 17, 1998: method 10).
    """
    if not tried or not other_tried:
        return -1.0, 1.0
    one, two = bad / tried, other_bad / other_tried
    (low_one, high_one), (low_two, high_two) = wilson(bad, tried), wilson(other_bad, other_tried)
    low = one - two - math.hypot(one - low_one, high_two - two)
    high = one - two + math.hypot(high_one - one, two - low_two)
    return low, high


# ---- reading the report


def _figures(report: Any) -> list[Figures]:  # noqa: ANN401 - any JSON
    try:
        if report["by"] != "release":
            raise InvalidManifest(f"report: by {report['by']!r:.40}, not by release")
        return [_one(row) for row in report["releases"] if row["release"]]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as fault:
        raise InvalidManifest(f"report: cannot be read ({fault!r:.120})") from fault


def _one(row: Mapping[str, Any]) -> Figures:
    card = row["seconds"]["card"]
    attempts, errors = int(row["attempts"]), sum(map(int, row["errors"].values()))
    memory = int(row["out_of_memory"])
    timed = int(card["count"]) if card else 0
    if not 0 <= memory <= errors <= attempts:
        raise InvalidManifest(f"report: {row['release']}: more errors than attempts")
    if not (attempts <= _MOST and 0 <= timed <= _MOST):
        raise InvalidManifest(f"report: {row['release']}: counts are 0 to {_MOST:,}")
    return Figures(
        release=str(row["release"]),
        attempts=attempts,
        errors=errors,
        out_of_memory=memory,
        timed=timed,
        median=_bounds(card) if card else None,
        golden={str(name): float(value) for name, value in row["golden"]["psnr"].items()},
    )


def _bounds(card: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """``None`` where nothing can be divided by."""
    found = (float(card["median"]), float(card["low"]), float(card["high"]))
    return found if min(found) > 0 else None


def _named(what: str, figures: Sequence[Figures], name: str | None) -> Figures:
    found = [one for one in figures if name and one.release.startswith(name)]
    if len(found) != 1:
        names = ", ".join(one.release[:12] for one in figures) or "none"
        raise InvalidManifest(f"{what}: {name!r} is not one of the report's releases: {names}")
    return found[0]
