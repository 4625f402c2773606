from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jobs.ids import new_job_id
from jobs.model import Lease
from jobs.states import JobState
from tests.unit.producer.shop import (
    BLACK,
    FAILURE,
    WORKER,
    Shop,
    folder_of,
    left_in,
    photo,
    picture_of,
    turns,
)

UNKNOWN = str(new_job_id())


# ---- status


def test_status_is_a_line_per_job_in_the_callers_order(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    result = shop.run("status", *reversed(ids))

    assert result.stdout == f"{ids[1]}\tqueued\tstdin\n{ids[0]}\tqueued\tstdin\n"


def test_status_of_one_job_is_a_line_in_a_pipe(shop: Shop) -> None:
    (job,) = shop.submitted("red", name="mug.jpg")

    assert shop.run("status", job).stdout == f"{job}\tqueued\tmug.jpg\n"


def test_a_pipe_is_no_terminal_though_colours_are_forced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many a CI does for all that it runs."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    (job,) = shop.submitted("red")

    assert shop.run("list").stdout == f"{job}\tqueued\tstdin\n"


def test_ids_come_from_a_pipe_as_the_other_commands_print_them(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    listing = shop.run("list").stdout
    answers = shop.json("status", "-", stdin=f"\n{listing}\n".encode())

    assert [one["id"] for one in answers] == ids[::-1]


def test_an_unknown_job_harms_no_other(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    result = shop.run("status", UNKNOWN, job, "abc")

    assert result.exit_code == 4
    assert result.stdout.startswith(job)
    assert result.stderr.splitlines() == [
        f"packshot: no job {UNKNOWN}",
        "packshot: 'abc' is no job id (a full UUID)",
        "packshot: 2 of 3 refused",
    ]


def test_what_is_no_id_is_an_invalid_request(shop: Shop) -> None:
    result = shop.run("status", "0193a5c2")

    assert result.exit_code == 2
    assert result.stderr == "packshot: '0193a5c2' is no job id (a full UUID)\n"


def test_status_says_once_what_nobody_serves_any_more(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    shop.complete_next()
    shop.ledger.retire(WORKER.id)
    told = shop.run("status", *ids).stderr

    assert told == (
        "packshot: no worker serves qwen-image-edit-2509 (quality) at present;"
        " 1 job will wait for one\n"
    )


def test_json_tells_of_a_wrong_id_in_its_place(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    wrong, right = shop.json("status", UNKNOWN, job, code=4)

    assert wrong == {
        "id": UNKNOWN,
        "error": {"code": "job_not_found", "message": f"no job {UNKNOWN}"},
    }
    assert right["id"] == job


# ---- wait


@pytest.fixture
def worked(shop: Shop) -> Shop:
    shop.ledger.work = shop.complete_next
    return shop


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


# ---- list


def test_list_is_newest_first_and_limited(shop: Shop) -> None:
    ids = shop.submitted("red", "blue", "green")

    assert [one["id"] for one in shop.json("list", "--limit", 2)] == ids[:0:-1]


def test_list_finds_by_state_and_batch(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    shop.fail_next()

    assert [one["id"] for one in shop.json("list", "--failed")] == ids[:1]
    assert [one["id"] for one in shop.json("list", "--state", "queued")] == ids[1:]
    assert shop.json("list", "--batch", "other") == []


def test_list_finds_suspect_pictures_and_says_why(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    shop.complete_next(BLACK)
    shop.complete_next()
    (found,) = shop.json("list", "--suspect")

    assert (found["id"], found["state"]) == (ids[0], "succeeded")
    assert found["result"]["suspect"] == {"code": "black", "message": BLACK.message}
    assert shop.run("status", ids[0]).stdout.endswith(f"\tsuspect: {BLACK.message}\n")
    assert shop.json("list", "--suspect", "--batch", "other") == []


def test_who_waits_is_told_of_a_suspect_picture_that_is_saved(shop: Shop, tmp_path: Path) -> None:
    shop.submitted("red", "blue")
    shop.ledger.work = turns(partial(shop.complete_next, BLACK), shop.complete_next)
    result = shop.run("wait", "--batch", "before", "-o", tmp_path)

    assert result.exit_code == 0
    assert len(left_in(tmp_path)) == 2
    assert "1 picture looks wrong (black); to see which: packshot list --suspect" in result.stderr


# ---- watch


def test_watch_tells_each_change_and_ends_with_the_batch(shop: Shop) -> None:
    ids = shop.submitted("red", "blue")
    shop.ledger.work = by_steps(shop)
    result = shop.run("watch", "--batch", "before")

    assert result.stdout.splitlines() == [
        "queued 2  running 0  succeeded 0  failed 0  cancelled 0",
        f"queued 1  running 1  succeeded 0  failed 0  cancelled 0  | {ids[0]} 0%",
        f"queued 1  running 1  succeeded 0  failed 0  cancelled 0  | {ids[0]} 50%",
        "queued 0  running 0  succeeded 1  failed 1  cancelled 0",
    ]


def by_steps(shop: Shop) -> Callable[[], object]:
    """The first job is claimed, gets half way, is looked at twice, and fails; then the other."""
    leases: list[Lease] = []

    def claim() -> None:
        lease = shop.claim()
        assert lease is not None
        leases.append(lease)

    def fail_and_complete() -> None:
        shop.ledger.fail(leases[0], FAILURE)
        shop.complete_next()

    return turns(claim, lambda: shop.step(leases[0], 2, 4), lambda: None, fail_and_complete)


def test_watch_counts_suspect_pictures(shop: Shop) -> None:
    shop.submitted("red")
    shop.complete_next(BLACK)

    assert shop.json("watch", "--once")[0]["suspects"] == 1
    assert shop.run("watch", "--once").stdout.rstrip().endswith("cancelled 0  suspect 1")


def test_watch_once_is_one_look_even_at_nothing(shop: Shop) -> None:
    (look,) = shop.json("watch", "--once")

    assert look["running"] == []
    assert set(look["counts"].values()) == {0}


# ---- result, history, report, init


def test_result_saves_the_picture(shop: Shop, tmp_path: Path) -> None:
    (job,) = shop.submitted("red")
    shop.complete_next()
    result = shop.run("result", job, "-o", tmp_path / "red.png")

    assert result.stdout == f"{job}\tsucceeded\tstdin\t{tmp_path}/red.png\n"
    assert (tmp_path / "red.png").read_text() == f"picture of {job}"


def test_result_may_go_to_a_folder_or_to_standard_output(shop: Shop, tmp_path: Path) -> None:
    (job,) = shop.submitted("red", name="mug.jpg")
    shop.complete_next()
    poured = shop.run("result", job, "-o", "-")
    shop.run("result", job, "-o", tmp_path)

    assert poured.stdout == f"picture of {job}"
    assert left_in(tmp_path) == ["mug.png"]


def test_result_without_out_is_a_link(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    shop.complete_next()
    (answer,) = shop.json("result", job)

    assert shop.run("result", job).stdout == f"{answer['link']}\n"
    assert answer["link"].startswith("memory://artifacts/")


@pytest.mark.parametrize("options", [[], ["-o", "-"], ["-o", "red.png"]])
def test_a_job_without_a_picture_is_exit_code_8(
    shop: Shop, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (job,) = shop.submitted("red")
    result = shop.run("result", job, *options)

    assert result.exit_code == 8
    assert result.stderr == f"packshot: job {job} is queued and has no picture\n"


def test_history_tells_every_move(shop: Shop) -> None:
    (job,) = shop.submitted("red")
    shop.complete_next()
    moves = shop.json("history", job)

    assert [(one["from"], one["to"]) for one in moves] == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "succeeded"),
    ]
    assert len(shop.run("history", job).stdout.splitlines()) == 3
    assert shop.run("history", UNKNOWN).exit_code == 4


def test_report_sums_up_states_failures_and_times(shop: Shop) -> None:
    shop.submitted("red", "blue", "green")
    shop.complete_next()
    shop.fail_next()
    (found,) = shop.json("report", "--batch", "before")
    told = shop.run("report").stdout

    assert found["counts"]["succeeded"] == found["counts"]["failed"] == 1
    assert found["failures"] == {"permanent/bad_picture": 1}
    assert found["seconds"]["started to finished"]["median"] >= 0
    assert "permanent/bad_picture" in told
    assert "submitted to finished" in told


def test_report_counts_suspect_pictures_by_reason(shop: Shop) -> None:
    shop.submitted("red", "blue", "green")
    for suspicion in (BLACK, BLACK, None):
        shop.complete_next(suspicion)
    (found,) = shop.json("report")

    assert found["suspects"] == {"black": 2}
    assert re.search(r"SUSPECT +JOBS\nblack +2", shop.run("report").stdout)


def test_init_tells_schema_and_bucket(shop: Shop) -> None:
    (made,) = shop.json("init")

    assert made == {
        "revision": "0001",
        "ledger": "host:5432/packshot",
        "bucket": "host:9000/packshot",
    }
    assert shop.run("init").stdout == (
        "ledger  host:5432/packshot  schema 0001\nbucket  host:9000/packshot\n"
    )
