"""Submitting, waiting for the pictures and saving them, in one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import Unavailable
from jobs.model import OutputFormat
from jobs.states import JobState
from tests.unit.producer.shop import Shop, folder_of, left_in, photo, picture_of, turns


def test_wait_ends_when_all_jobs_are_finished(worked: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png", "b.png", "c.png")
    answers = worked.json("submit", tmp_path, "-i", "red", "--wait")

    assert [one["state"] for one in answers] == ["succeeded"] * 3


def test_out_saves_the_pictures_under_the_photographs_names(worked: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", "a.png", "b.png", "sub/a.png")
    answers = worked.json(
        "submit", tmp_path / "in", "-i", "red", "--recursive", "-o", tmp_path / "out"
    )

    assert left_in(tmp_path / "out") == ["a-2.png", "a.png", "b.png"]
    assert [one["file"] for one in answers] == [
        f"{tmp_path}/out/{name}" for name in ("a.png", "b.png", "a-2.png")
    ]
    for job, answer in zip(worked.jobs, answers, strict=True):
        assert Path(answer["file"]).read_bytes() == picture_of(job)


def test_out_may_be_a_file_whose_name_asks_for_the_format(worked: Shop, tmp_path: Path) -> None:
    worked.run("submit", "-", "-i", "red", "-o", tmp_path / "red.jpg", stdin=photo())
    (job,) = worked.jobs

    assert job.request.format is OutputFormat.JPEG
    assert (tmp_path / "red.jpg").read_bytes() == picture_of(job)


def test_a_files_name_and_another_format_do_not_go_together(worked: Shop, tmp_path: Path) -> None:
    place = tmp_path / "red.png"
    asked = ("submit", "-", "-i", "red", "--format", "webp", "-o")
    result = worked.run(*asked, place, stdin=photo())

    told = f"packshot: -o {place}: the picture is webp; name it red.webp\n"
    assert (result.exit_code, result.stderr, worked.jobs) == (2, told, [])


@pytest.mark.parametrize("command", ["wait", "result"])
def test_a_picture_is_not_saved_as_one_of_another_format(
    worked: Shop, tmp_path: Path, command: str
) -> None:
    (job,) = worked.submitted("red")
    worked.complete_next()
    result = worked.run(command, job, "-o", tmp_path / "red.webp")

    told = f"packshot: -o {tmp_path / 'red.webp'}: the picture is png; name it red.png\n"
    assert (result.exit_code, result.stderr, left_in(tmp_path)) == (2, told, [])


def test_the_two_spellings_of_jpeg_are_one(worked: Shop, tmp_path: Path) -> None:
    for name in ("red.jpg", "red.JPEG"):
        asked = ("submit", "-", "-i", "red", "--format", "jpeg", "-o")
        assert worked.run(*asked, tmp_path / name, stdin=photo()).exit_code == 0


def test_out_may_be_standard_output(worked: Shop) -> None:
    result = worked.run("submit", "-", "-i", "red", "-o", "-", stdin=photo())
    (job,) = worked.jobs

    assert result.stdout_bytes == picture_of(job)


def test_a_folder_of_one_photograph_is_saved_into_a_folder(worked: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", "a.png")
    worked.run("submit", tmp_path / "in", "-i", "red", "-o", tmp_path / "out")

    assert left_in(tmp_path / "out") == ["a.png"]


def test_saving_beside_the_photographs_spares_them(worked: Shop, tmp_path: Path) -> None:
    folder_of(tmp_path, "a.png")
    before = (tmp_path / "a.png").read_bytes()
    worked.run("submit", tmp_path, "-i", "red", "-o", tmp_path)

    assert (tmp_path / "a.png").read_bytes() == before
    assert left_in(tmp_path) == ["a-2.png", "a.png"]


def test_what_cannot_be_saved_is_said_before_anything_is_sent(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = shop.run("submit", "-", "-i", "red", "-o", tmp_path / "file/red.png", stdin=photo())

    assert result.exit_code == 2
    assert shop.jobs == []


def test_a_job_that_fails_is_exit_code_10_and_the_others_are_saved(
    shop: Shop, tmp_path: Path
) -> None:
    folder_of(tmp_path / "in", "a.png", "b.png")
    shop.ledger.work = turns(shop.fail_next, shop.complete_next)
    result = shop.run("submit", tmp_path / "in", "-i", "red", "-o", tmp_path / "out")

    assert result.exit_code == 10
    assert left_in(tmp_path / "out") == ["b.png"]
    assert "failed" in result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[0].endswith("\tpermanent: will not decode")
    assert result.stderr.splitlines()[-1] == "packshot: 1 of 2 failed"


def test_two_photographs_of_one_content_both_get_their_picture(
    worked: Shop, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(photo())
    worked.run("submit", tmp_path, "-i", "red", "-o", tmp_path / "out")

    assert len(worked.jobs) == 1
    assert left_in(tmp_path / "out") == ["a.png", "b.png"]


def test_when_the_ledger_leaves_during_the_wait_the_jobs_are_still_told(
    shop: Shop, tmp_path: Path
) -> None:
    def leave() -> None:
        raise Unavailable("Postgres at host:5432/packshot: connection refused")

    folder_of(tmp_path, "a.png", "b.png")
    shop.ledger.work = leave
    answers = shop.json("submit", tmp_path, "-i", "red", "--wait", code=6)

    assert [one["id"] for one in answers] == [str(job.id) for job in shop.jobs]
    assert answers[0]["error"]["code"] == "unavailable"


def test_a_picture_that_is_gone_from_the_bucket_is_an_error_of_its_job(
    shop: Shop, tmp_path: Path
) -> None:
    def complete_and_lose() -> None:
        job = shop.complete_next()
        if job and job.result:
            shop.artifacts.delete([job.result.key])

    shop.ledger.work = complete_and_lose
    result = shop.run("submit", "-", "-i", "red", "-o", tmp_path / "red.png", stdin=photo())

    assert result.exit_code == 4
    assert left_in(tmp_path) == []
    assert shop.jobs[0].state is JobState.SUCCEEDED
