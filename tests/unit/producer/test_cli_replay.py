from __future__ import annotations

from uuid import UUID

import pytest

from jobs.ids import new_job_id
from jobs.model import JobId
from jobs.states import JobState
from jobs.testing import memory_rows
from tests.unit.producer.shop import FAILURE, Shop, photo

UNKNOWN = str(new_job_id())


def dead(shop: Shop, *names: str) -> list[str]:
    """The ids of jobs that failed."""
    ids = shop.submitted(*names)
    for _ in names:
        shop.fail_next()
    return ids


def test_a_replay_is_a_new_job_and_twice_is_the_same(shop: Shop) -> None:
    (old,) = dead(shop, "red")
    (first,) = shop.json("replay", old)
    (second,) = shop.json("replay", old)

    assert (first["replay_of"], first["state"], first["created"]) == (old, "queued", True)
    assert (second["replay_of"], second["created"]) == (old, False)
    assert shop.client().history(shop.jobs[-1].id)[0].who.startswith("cli")


def test_a_replay_tells_workers_at_once(shop: Shop) -> None:
    (old,) = dead(shop, "red")
    with shop.client() as client:
        (found,) = client.replay([shop.jobs[0].id])
        client._nudger.flush(5)  # noqa: SLF001 - what close does, for longer

    assert str(shop.jobs[0].id) == old
    assert [one for _, one in shop.dispatcher.sent][-1:] == [shop.jobs[1].id]
    assert getattr(found, "created", None)


def test_what_may_not_be_replayed_harms_no_other(shop: Shop) -> None:
    (old,) = dead(shop, "red")
    (waiting,) = shop.submitted("blue")
    result = shop.run("replay", waiting, old, UNKNOWN, "abc")

    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr.splitlines() == [
        f"packshot: job {waiting} is queued: only failed and cancelled jobs are replayed",
        f"packshot: no job {UNKNOWN}",
        "packshot: 'abc' is no job id (a full UUID)",
        "packshot: 3 of 4 refused",
    ]


def test_dead_letters_are_replayed_from_a_pipe(shop: Shop) -> None:
    ids = dead(shop, "red", "blue")
    listing = shop.run("list", "--failed").stdout
    answers = shop.json("replay", "-", stdin=listing.encode())

    assert [one["replay_of"] for one in answers] == ids[::-1]


def test_all_dead_letters_are_replayed_once(shop: Shop) -> None:
    ids = dead(shop, "red", "blue")
    answers = shop.json("replay", "--failed", "--yes")
    again = shop.json("replay", "--failed", "--yes")

    assert [one["replay_of"] for one in answers] == ids
    assert again == []


@pytest.mark.parametrize(
    ("reason", "count"),
    [
        (["--class", "permanent"], 2),
        (["--class", "transient"], 0),
        (["--code", FAILURE.code], 2),
        (["--code", "other"], 0),
        (["--batch", "before"], 2),
        (["--batch", "other"], 0),
    ],
)
def test_dead_letters_are_named_by_what_befell_them(
    shop: Shop, reason: list[str], count: int
) -> None:
    dead(shop, "red", "blue")

    assert len(shop.json("replay", "--failed", *reason, "--yes")) == count


def test_who_cannot_be_asked_is_told_how_many_and_nothing_happens(shop: Shop) -> None:
    dead(shop, "red", "blue")
    result = shop.run("replay", "--failed")

    assert result.exit_code == 2
    assert result.stderr == "packshot: 2 failed jobs to replay; --yes does it\n"
    assert [job.state for job in shop.jobs] == [JobState.FAILED] * 2


@pytest.mark.parametrize(("said", "made"), [(b"y\n", 1), (b"n\n", 0)])
def test_a_person_is_asked_first(shop: Shop, said: bytes, made: int) -> None:
    dead(shop, "red")
    result = shop.run("replay", "--failed", stdin=said, can_ask=lambda: True)

    assert result.exit_code == 0
    assert "replay 1 failed job?" in result.stderr
    assert len(result.stdout.splitlines()) == made
    assert len(shop.jobs) == 1 + made


def test_nothing_to_replay_asks_nobody(shop: Shop) -> None:
    result = shop.run("replay", "--failed")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "packshot: 0 failed jobs to replay\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "Name jobs by their ids"),
        ([UNKNOWN, "--failed"], "Name jobs by their ids"),
        ([UNKNOWN, "--class", "lost"], "go with --failed"),
        ([UNKNOWN, "--batch", "b"], "go with --failed"),
    ],
)
def test_ids_or_reasons_but_not_both(shop: Shop, args: list[str], told: str) -> None:
    result = shop.run("replay", *args)

    assert result.exit_code == 2
    assert told in result.stderr


def test_list_finds_by_class_and_code(shop: Shop) -> None:
    ids = dead(shop, "red")
    shop.submitted("blue")

    assert [one["id"] for one in shop.json("list", "--failed", "--class", "permanent")] == ids
    assert [one["id"] for one in shop.json("list", "--code", FAILURE.code)] == ids
    assert shop.json("list", "--class", "lost") == []


def test_waiting_for_a_batch_waits_for_the_replay_instead(shop: Shop) -> None:
    old, kept = dead(shop, "red", "blue")
    (new,) = shop.json("replay", old)
    shop.complete_next()

    answers = shop.json("wait", "--batch", "before", code=10)

    assert [(one["id"], one["state"]) for one in answers] == [
        (new["id"], "succeeded"),
        (kept, "failed"),
    ]


def test_a_replay_by_a_host_whose_clock_is_behind_is_the_later_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = dead(shop, "red")
    monkeypatch.setattr(memory_rows, "new_job_id", lambda: JobId(UUID(int=7)))
    (new,) = shop.json("replay", old)

    assert new["id"] < old
    assert [str(job.id) for job in shop.client().batch("before")] == [new["id"]]


def test_a_job_whose_key_went_to_another_batch_is_still_its_own_batchs(shop: Shop) -> None:
    (old,) = dead(shop, "red")
    moved = ("submit", "-", "-i", "red", "--batch", "later")
    (new,) = shop.json(*moved, stdin=photo())
    shop.complete_next()

    assert [one["id"] for one in shop.json("wait", "--batch", "before", code=10)] == [old]
    assert [one["id"] for one in shop.json("wait", "--batch", "later")] == [new["id"]]


def test_a_report_of_a_batch_tells_of_what_failed_before_its_replay(shop: Shop) -> None:
    (old,) = dead(shop, "red")
    shop.json("replay", old)
    shop.complete_next()

    (found,) = shop.json("report", "--batch", "before")

    assert (found["counts"]["failed"], found["counts"]["succeeded"]) == (1, 1)
    assert (found["looked_at"], found["failures"]) == (2, {"permanent/bad_picture": 1})
