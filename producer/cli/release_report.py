"""How each release does: errors by class, seconds, memory, and its golden pictures.

A golden picture is the result of a job whose metadata says ``golden=<name>``: fixed input,
instruction and seed, submitted again for each release.  It is compared, pixel by pixel, with the
reference of that name: a file from the environment that was tested, or the baseline's picture.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image, ImageChops, ImageStat
from rich.text import Text

from jobs.errors import FailureClass, InvalidRequest, NoResult, NoSuchArtifact
from jobs.ledger import Ended
from jobs.model import JobId
from jobs.states import JobState
from producer.cli.tables import console, plain_table
from producer.client import Client

DAY: Final = timedelta(days=1)
EQUAL: Final = 100.0  # dB, said of pictures that are equal in every pixel
_SUFFIXES: Final = (".png", ".webp", ".jpg", ".jpeg")

#: The reference picture of a name, if there is one.
References = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Of the attempts that succeeded.  ``low`` to ``high`` holds the median of all such attempts
    with 95 % confidence, whatever their distribution (order statistics): from six of them on.  Of
    fewer they are the least and the greatest, which do not (of three: 75 %)."""

    count: int
    median: float
    p95: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        ranked = sorted(values)
        if not ranked:
            return None
        last = len(ranked) - 1
        # The number of values under the median is binomial(n, 1/2); its normal bounds.
        reach = 1.96 * math.sqrt(len(ranked)) / 2
        return cls(
            count=len(ranked),
            median=ranked[last // 2],
            p95=ranked[round(0.95 * last)],
            low=ranked[max(0, math.floor(len(ranked) / 2 - reach))],
            high=ranked[min(last, math.ceil(len(ranked) / 2 + reach))],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseFigures:
    """``attempts`` is succeeded + errors; what was handed back or cancelled is neither."""

    release: str | None  #: ``None``: workers that were started from no release
    cards: int
    attempts: int
    succeeded: int
    errors: Mapping[str, int]  #: failure class → attempts
    out_of_memory: int
    seconds: Mapping[str, Seconds | None]  #: ``card`` and ``total``
    golden: Mapping[str, float]  #: name → PSNR in dB against the reference

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / self.attempts if self.attempts else 0.0

    def as_json(self) -> dict[str, Any]:
        spans = {name: asdict(one) if one else None for name, one in self.seconds.items()}
        golden = {
            "compared": len(self.golden),
            "psnr_min": min(self.golden.values(), default=None),
            "psnr": dict(self.golden),
        }
        plain = {"cards", "attempts", "succeeded", "out_of_memory"}
        return {
            "release": self.release,
            **{name: getattr(self, name) for name in sorted(plain)},
            "errors": dict(self.errors),
            "error_rate": self.error_rate,
            "seconds": spans,
            "golden": golden,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseReport:
    within: timedelta
    baseline: str | None  #: what the others are compared with
    releases: tuple[ReleaseFigures, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "by": "release",
            "within_seconds": self.within.total_seconds(),
            "baseline": self.baseline,
            "releases": [one.as_json() for one in self.releases],
        }


def by_release(
    client: Client,
    *,
    within: timedelta = DAY,
    baseline: str | None = None,
    golden: Path | None = None,
) -> ReleaseReport:
    """``baseline``, cut short or not, defaults to the release that most attempts ran on;
    ``golden`` is a folder of reference pictures, ``<name>.png``.

    Raises ``InvalidRequest`` for a folder without pictures, and for a baseline that did not run.
    """
    attempts = client.ledger.ended(within=within)
    counts = Counter(one.release for one in attempts)
    if baseline is not None:
        baseline = _named(baseline, [one for one in counts if one])
    elif counts:
        baseline = counts.most_common(1)[0][0]
    references = folder_of(golden) if golden else _pictures_of(client, attempts, baseline)
    figures = [
        figures_of(
            release,
            [one for one in attempts if one.release == release],
            _distances(client, attempts, release, references),
        )
        for release in counts
    ]
    figures.sort(key=lambda one: (-one.attempts, one.release or ""))
    return ReleaseReport(within=within, baseline=baseline, releases=tuple(figures))


def _named(baseline: str, ran: Sequence[str]) -> str:
    alike = [one for one in ran if baseline and one.startswith(baseline)]
    found = [baseline] if baseline in alike else alike
    if len(found) != 1:
        names = ", ".join(sorted(one[:12] for one in ran)) or "none"
        what = "begins several" if found else "not one"
        raise InvalidRequest(
            f"baseline {baseline[:80]!r}: {what} of the releases that ended attempts in this time:"
            f" {names}; --within 7d looks further back"
        )
    return found[0]


def figures_of(
    release: str | None, attempts: Sequence[Ended], golden: Mapping[str, float]
) -> ReleaseFigures:
    """Of attempts that all ran on this release."""
    errors = Counter(one.failure_class.value for one in attempts if one.failure_class)
    done = [one for one in attempts if one.outcome is JobState.SUCCEEDED]
    return ReleaseFigures(
        release=release,
        cards=len({one.card for one in attempts}),
        attempts=len(done) + errors.total(),
        succeeded=len(done),
        errors=dict(errors.most_common()),
        out_of_memory=errors[FailureClass.RESOURCE.value],
        seconds={
            stage: Seconds.of(one.timings[stage] for one in done if stage in one.timings)
            for stage in ("card", "total")
        },
        golden=golden,
    )


# ---- golden pictures


def psnr(one: bytes, other: bytes) -> float:
    """Peak signal-to-noise ratio in dB: of the colours, or of the transparency where that differs
    more.  100 for equal pictures, 0 for pictures of different sizes.

    Raises ``OSError`` for what is no picture.
    """
    left, right = (Image.open(io.BytesIO(data)).convert("RGBA") for data in (one, other))
    if left.size != right.size:
        return 0.0
    *colours, alpha = ImageStat.Stat(ImageChops.difference(left, right)).sum2
    error = max(sum(colours) / len(colours), alpha) / (left.width * left.height)
    return EQUAL if error == 0 else min(EQUAL, 10 * math.log10(255**2 / error))


def folder_of(folder: Path) -> References:
    """Pictures of a folder by their names without the suffix."""
    files = {one.stem: one for one in sorted(folder.glob("*")) if one.suffix.lower() in _SUFFIXES}
    if not files:
        raise InvalidRequest(f"golden: no pictures in {folder}")
    return lambda name: files[name].read_bytes() if name in files else None


def _pictures_of(client: Client, attempts: Sequence[Ended], release: str | None) -> References:
    jobs = _newest(attempts, release)
    return lambda name: _result(client, jobs[name]) if name in jobs else None


def _newest(attempts: Sequence[Ended], release: str | None) -> dict[str, JobId]:
    """Name → job that this release has finished last; attempts come newest first."""
    return {
        one.golden: one.job_id
        for one in reversed(attempts)
        if one.golden and one.release == release and one.outcome is JobState.SUCCEEDED
    }


def _distances(
    client: Client, attempts: Sequence[Ended], release: str | None, references: References
) -> dict[str, float]:
    found = {}
    for name, job_id in sorted(_newest(attempts, release).items()):
        picture, reference = _result(client, job_id), references(name)
        if picture is not None and reference is not None:
            found[name] = round(psnr(picture, reference), 2)
    return found


def _result(client: Client, job_id: JobId) -> bytes | None:
    """``None`` where the picture has expired; a bucket that is away raises."""
    try:
        return client.result(job_id)
    except (NoResult, NoSuchArtifact):
        return None


# ---- for people


def show(found: ReleaseReport) -> None:
    table = plain_table(
        "release", "cards", "attempts", "errors", "memory", "card", "95 %", "golden"
    )
    for one in found.releases:
        name = f"{(one.release or 'none')[:12]}{' *' if one.release == found.baseline else ''}"
        card = one.seconds["card"]
        golden = f"{min(one.golden.values()):.1f} dB" if one.golden else "-"
        spans = [f"{card.median:.2f} s", f"{card.p95:.2f} s"] if card else ["-", "-"]
        counts = [one.cards, one.attempts, f"{one.error_rate:.2%}", one.out_of_memory]
        table.add_row(*(Text(str(cell)) for cell in (name, *counts, *spans, golden)))
    console().print(table)
    console().print(Text("* baseline; card: seconds on the card, median and 95 %"))
