from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.ids import new_job_id
from jobs.model import Lease
from tests.unit.producer.shop import (
    BLACK,
    FAILURE,
    WORKER,
    Shop,
    left_in,
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
