"""Loads torch, yet no pipeline: a parabola is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worker.engine.tiny.cases import report
from worker.engine.tiny.training.learner import Learner, Schedule
from worker.engine.tiny.training.progress import Progress
from worker.engine.tiny.training.run import Limits, Run


class Curve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([[3.0]]))

    def loss(self, _numbers: np.random.Generator, random: torch.Generator) -> Tensor:
        return (self.place + 0.1 * torch.randn(1, generator=random)).square().sum()


def ticking(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def run(folder: Path, limits: Limits, seconds_a_step: float = 1.0) -> tuple[Run, list[float]]:
    curve, seen = Curve(), []
    clock = ticking(seconds_a_step)
    learner = Learner(
        {"curve": curve}, Schedule(rate=0.1, batch=10, warm_up=20), seed=1, record={"a": 1}
    )
    made = Run(
        learner=learner,
        loss=curve.loss,
        state=folder / "state.pt",
        limits=limits,
        report=lambda _learner, loss: seen.append(loss),
        clock=lambda: next(clock),
    )
    made.go()
    return made, seen


def test_a_run_ends_at_its_samples_and_reports_on_the_way(tmp_path: Path) -> None:
    made, seen = run(tmp_path, Limits(samples=300, report_every=100))

    assert made.learner.samples == 300
    assert len(seen) == 3
    assert seen[-1] < seen[0]


def test_a_run_ends_at_its_time_and_the_next_goes_on(tmp_path: Path) -> None:
    first, _ = run(tmp_path, Limits(minutes=1), seconds_a_step=5)
    second, _ = run(tmp_path, Limits(minutes=1), seconds_a_step=5)

    assert 0 < first.learner.samples < second.learner.samples
    assert second.learner.samples == 2 * first.learner.samples


@pytest.mark.parametrize(
    ("samples", "share"), [(0, 0.1), (90, 1.0), (500, 1.0), (750, 0.5), (1000, 0.0), (2000, 0.0)]
)
def test_the_rate_follows_the_samples(samples: int, share: float) -> None:
    schedule = Schedule(rate=1, batch=10, warm_up=100, cooldown=(500, 500))

    assert schedule.share(samples) == pytest.approx(share)


def test_the_average_follows_the_weights_and_takes_their_place() -> None:
    curve = Curve()
    learner = Learner({"curve": curve}, Schedule(rate=0.1, batch=1, warm_up=1), seed=1, record={})
    for _ in range(20):
        learner.step(curve.loss)
    learnt = float(curve.place.detach())
    learner.swap()
    average = float(curve.place.detach())
    learner.swap()

    assert learnt < average < 3.0
    assert float(curve.place.detach()) == learnt


def test_progress_tells_the_speed_since_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ticking(2.0)
    progress = Progress(clock=lambda: next(clock))
    progress.start(100)
    progress.line(300, {"loss": 0.5})

    assert "samples=300 per_second=100.0 loss=0.5" in capsys.readouterr().out


def test_no_cases_have_no_share() -> None:
    assert report([])["right_share"] is None
