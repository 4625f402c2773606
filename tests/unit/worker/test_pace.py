"""What is known beforehand of the moment at which a job leaves the card."""

from __future__ import annotations

from math import inf

import pytest

from worker.card.pace import Experience, Progress


def after(*steps: tuple[float, int], total: int = 10, kind: str = "") -> Progress:
    """A job that began at 0: (moment, steps done) of each step."""
    job = Progress.begin(0.0, kind)
    for at, done in steps:
        job = job.step(at, done, total)
    return job


def test_what_stands_before_the_first_step_is_not_taken_for_a_step_s_time() -> None:
    """The text is encoded there, and more."""
    job = after((3.0, 1), (4.0, 2), (5.0, 3))

    assert Experience().remaining(job, 5.0) == 7.0


def test_between_two_steps_the_time_that_passes_counts_down() -> None:
    job = after((1.0, 1), (2.0, 2))

    assert Experience().remaining(job, 2.75) == 7.25


def test_a_late_step_does_not_bring_those_after_it_nearer() -> None:
    job = after((1.0, 1), (2.0, 2))

    assert Experience().remaining(job, 60.0) == 7.0


def test_a_step_that_is_told_twice_counts_once() -> None:
    job = after((1.0, 1), (2.0, 2), (2.5, 2))

    assert Experience().remaining(job, 2.5) == 7.5


def test_a_second_try_begins_anew() -> None:
    job = after((1.0, 1), (8.0, 8), (20.0, 0), (22.0, 1))

    assert Experience().remaining(job, 22.0) == 18.0


def test_the_time_after_the_last_step_is_learned() -> None:
    """There the picture is decoded, of which no step tells."""
    experience = Experience()
    for _ in range(3):
        experience.learn(after((1.0, 1), (2.0, 2), total=2), 2.6)

    assert experience.remaining(after((1.0, 1), total=2), 1.0) == pytest.approx(1.6)
    assert experience.remaining(after((1.0, 1), (2.0, 2), total=2), 2.1) == pytest.approx(0.5)


def test_jobs_of_another_kind_say_nothing_about_this_one() -> None:
    experience = Experience()
    experience.learn(after(kind="fast"), 1.8)

    assert experience.remaining(after(kind="fast"), 0.8) == pytest.approx(1.0)
    assert experience.remaining(after(kind="quality"), 0.8) == inf
