from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from jobs.ids import new_job_id
from jobs.states import JobState
from tests.unit.producer.shop import (
    BLACK,
    Shop,
    folder_of,
    left_in,
    photo,
    picture_of,
    turns,
)

UNKNOWN = str(new_job_id())


# ---- wait


def test_wait_for_a_batch_saves_its_pictures(worked: Shop, tmp_path: Path) -> None:
    worked.submitted("red", "blue", name="mug.jpg")
    result = worked.run("wait", "--batch", "before", "-o", tmp_path)

    assert result.exit_code == 0
    assert left_in(tmp_path) == ["mug-2.png", "mug.png"]
    assert (tmp_path / "mug.png").read_bytes() == picture_of(worked.jobs[0])


def test_no_picture_that_is_waited_for_takes_the_place_of_its_photograph(
    worked: Shop, tmp_path: Path
) -> None:
    """Who waits names no photograph, and may save beside them."""
    shots = folder_of(tmp_path, "mug.png", "bag.png")
    before = {name: (shots / name).read_bytes() for name in left_in(shots)}
    worked.run("submit", shots, "-i", "red", "--batch", "spring")
    for _ in range(2):  # again, with the results lying there
        worked.run("wait", "--batch", "spring", "-o", shots)
    last = worked.jobs[-1]
    alone = worked.run("wait", last.id, "-o", shots / last.metadata["name"])

    assert {name: (shots / name).read_bytes() for name in before} == before
    assert left_in(shots) == ["bag-2.png", "bag.png", "mug-2.png", "mug.png"]
    assert alone.exit_code == 2
    assert "is the photograph itself; name another file" in alone.stderr


def test_wait_names_pictures_the_same_whichever_job_ends_first(shop: Shop, tmp_path: Path) -> None:
    first, last = shop.submitted("red", name="a.png") + shop.submitted("blue", name="a.png")
    lease = shop.claim()
    assert lease is not None
    shop.complete_next()  # the other one, before the first
    shop.ledger.hand_back(lease, why="test")
    shop.ledger.work = shop.complete_next
    shop.run("wait", first, last, "-o", tmp_path)

    assert (tmp_path / "a.png").read_text() == f"picture of {first}"
    assert (tmp_path / "a-2.png").read_text() == f"picture of {last}"


def test_a_wait_that_ends_too_early_is_exit_code_9_and_tells_all_jobs(shop: Shop) -> None:
    shop.submitted("red", "blue")
    shop.complete_next()
    answers = shop.json("wait", "--batch", "before", "--timeout", "0.01s", code=9)

    assert [one["state"] for one in answers] == ["succeeded", "queued"]
    assert answers[1]["error"]["message"] == "1 of 2 jobs not finished after 0:00:00.010000"


def test_waiting_for_a_cancelled_job_is_exit_code_10(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    shop.run("cancel", job)

    assert shop.run("wait", job).exit_code == 10


@pytest.mark.parametrize("command", ["wait", "cancel"])
@pytest.mark.parametrize("args", [[], [UNKNOWN, "--batch", "b"]])
def test_ids_or_a_batch_but_not_both(shop: Shop, command: str, args: list[str]) -> None:
    result = shop.run(command, *args)

    assert result.exit_code == 2
    assert "Name jobs by their ids" in result.stderr


@pytest.mark.parametrize("command", ["wait", "cancel", "watch", "report"])
@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_batch_without_jobs_is_not_found(shop: Shop, command: str, name: str) -> None:
    """A script's variable that is empty names no batch, and not all jobs."""
    shop.submitted("red")
    result = shop.run(command, "--batch", name)

    assert result.exit_code == 4
    assert result.stderr == f"packshot: no job in batch {name!r} of tenant 'default'\n"


def test_no_batch_is_made_under_an_empty_name(shop: Shop) -> None:
    result = shop.run("submit", "-", "-i", "red", "--batch", "", stdin=photo())

    assert result.exit_code == 2
    assert "batch: 1 to 255 characters" in result.stderr


def test_who_waits_is_told_of_a_suspect_picture_that_is_saved(shop: Shop, tmp_path: Path) -> None:
    shop.submitted("red", "blue")
    shop.ledger.work = turns(partial(shop.complete_next, BLACK), shop.complete_next)
    result = shop.run("wait", "--batch", "before", "-o", tmp_path)

    assert result.exit_code == 0
    assert len(left_in(tmp_path)) == 2
    assert "1 picture looks wrong (black); to see which: packshot list --suspect" in result.stderr


# ---- cancel


def test_cancel_withdraws_what_is_queued_and_says_who(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    result = shop.run("cancel", job)

    assert result.stdout == f"{job}\tcancelled\tstdin\n"
    assert shop.client().history(shop.jobs[0].id)[-1].who.startswith("cli")


def test_cancelling_a_running_job_says_that_it_is_asked_for(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    shop.claim()

    assert shop.run("cancel", job).stdout == f"{job}\trunning\tstdin\tcancel asked for\n"


def test_cancelling_a_batch_leaves_what_is_finished(shop: Shop) -> None:
    shop.submitted("red", "blue")
    shop.complete_next()
    shop.run("cancel", "--batch", "before")
    again = shop.run("cancel", "--batch", "before")

    assert [job.state for job in shop.jobs] == [JobState.SUCCEEDED, JobState.CANCELLED]
    assert again.exit_code == 0
    assert again.stderr == "packshot: all jobs of batch before are finished\n"
