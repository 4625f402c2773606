"""What a caller of the library hands over is understood, or refused by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from jobs.errors import InvalidRequest, Timeout, UnusablePicture
from jobs.ledger import JobFilter, Submitted
from producer.client import Client
from producer.edits import Edit
from producer.inputs import Picture
from tests.unit.producer.shop import Shop, photo


@pytest.fixture
def client(shop: Shop) -> Client:
    return shop.client()


@pytest.fixture
def mug(tmp_path: Path) -> Path:
    path = tmp_path / "mug.png"
    path.write_bytes(photo())
    return path


def edit(**fields: Any) -> Edit:  # noqa: ANN401 - fields of Edit, right or wrong
    return Edit(**{"pictures": [photo()], "instruction": "red", **fields})


def test_a_picture_is_a_path_or_text_of_one_or_bytes_or_a_picture(
    client: Client, mug: Path
) -> None:
    named: Any = Picture(name="mug", path=str(mug))  # type: ignore[arg-type]
    spellings = [mug, str(mug), photo(), Picture.at(mug), named]

    jobs = [client.submit(edit(pictures=[one])) for one in spellings]

    assert len({job.id for job in jobs}) == 1


def test_bytes_are_named_by_their_place(client: Client, mug: Path) -> None:
    with pytest.raises(UnusablePicture, match=r"^picture 2: "):
        client.submit(edit(pictures=[mug, b"no picture"]))


@pytest.mark.parametrize("seconds", [0, 0.01, timedelta(0), timedelta(milliseconds=10)])
def test_a_timeout_is_in_seconds_or_a_timedelta(client: Client, seconds: Any) -> None:  # noqa: ANN401
    job = client.submit(edit())

    for wait in (client.wait_all, client.watch):
        with pytest.raises(Timeout, match="1 of 1 jobs not finished after"):
            list(wait([job.id], timeout=seconds))


def test_the_spans_of_an_edit_and_of_a_link_are_in_seconds_too(client: Client, shop: Shop) -> None:
    job = client.submit(edit(run_limit=90, start_within=1.5, keep_for=60))
    done = shop.complete_next()
    assert done is not None
    assert done.finished_at is not None

    query = parse_qs(urlsplit(client.link(done, expires=90)).query)

    assert job.run_limit == timedelta(seconds=90)
    assert job.start_by == job.created_at + timedelta(seconds=1.5)
    assert done.expires_at == done.finished_at + timedelta(seconds=60)
    assert query["expires"] == ["90"]


ASKED: Final[Mapping[str, Callable[[Client, Any], object]]] = {
    "status": lambda client, job: client.status(job),
    "place": lambda client, job: client.place(job),
    "history": lambda client, job: client.history(job),
    "wait": lambda client, job: client.wait(job),
    "wait_all": lambda client, job: client.wait_all([job]),
    "watch": lambda client, job: list(client.watch([job])),
    "result": lambda client, job: client.result(job),
    "link": lambda client, job: client.link(job),
    "cancel": lambda client, job: client.cancel(job),
    "replay": lambda client, job: str(client.replay([job])[0]),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_job_is_named_by_its_id_or_the_text_of_it_or_by_itself(
    client: Client, shop: Shop, name: str
) -> None:
    job = client.submit(edit())
    shop.complete_next()
    by_itself, by_id, by_text = (ASKED[name](client, one) for one in (job, job.id, str(job.id)))

    assert repr(by_itself) == repr(by_id) == repr(by_text)


def test_edits_come_from_anything_that_gives_them_one_by_one(client: Client) -> None:
    outcomes = client.submit_many(edit(instruction=colour) for colour in ("red", "blue"))

    assert len({one.job.id for one in outcomes if isinstance(one, Submitted)}) == 2


WRONG: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "one picture": ({"pictures": "mug.jpg"}, "pictures: a list, got str"),
    "no list": ({"pictures": None}, "pictures: a list, got NoneType"),
    "a number": ({"pictures": [7]}, "pictures: each a path, bytes or a Picture, got int"),
    "no text": ({"instruction": None}, "instruction: expected str, got NoneType"),
    "a seed": ({"seed": "7"}, "seed: expected int | None, got str"),
    "a yes for a number": ({"max_failures": True}, "max_failures: expected int, got bool"),
    "a yes for a span": ({"run_limit": True}, "run_limit: a timedelta or a number of seconds"),
    "a scale": ({"true_cfg_scale": "4"}, "true_cfg_scale: expected float | None, got str"),
    "a format": ({"format": "jpeg"}, "format: expected OutputFormat, got str"),
    "a priority": ({"priority": 9}, "priority: expected Priority, got int"),
    "metadata": ({"metadata": None}, "metadata: expected Mapping[str, str], got NoneType"),
    "a number of metadata": ({"metadata": {"sku": 5}}, "metadata 'sku': expected str, got int"),
    "a span": ({"run_limit": "10m"}, "run_limit: a timedelta or a number of seconds, got str"),
    "endless": ({"keep_for": float("inf")}, "keep_for: a timedelta or a number of seconds"),
    "no number": ({"keep_for": float("nan")}, "keep_for: a timedelta or a number of seconds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_edit_cannot_be_made_of_stands_in_its_place(client: Client, name: str) -> None:
    fields, message = WRONG[name]

    refused, other = client.submit_many([edit(**fields), edit()])

    assert isinstance(refused, InvalidRequest)
    assert str(refused).startswith(message)
    assert isinstance(other, Submitted)


def test_what_is_no_edit_stands_in_its_place(client: Client) -> None:
    strange: Any = {"instruction": "red"}

    refused, other = client.submit_many([strange, edit()])

    assert str(refused) == "edits: each an Edit, got dict"
    assert isinstance(other, Submitted)


CALLS: Final[Mapping[str, tuple[Callable[[Client, Any], object], str]]] = {
    "timeout": (
        lambda client, job: client.wait(job.id, timeout="3"),  # type: ignore[arg-type]
        "timeout: a timedelta or a number of seconds, got str",
    ),
    "expires": (
        lambda client, job: client.link(job, expires="1h"),  # type: ignore[arg-type]
        "expires: a timedelta or a number of seconds, got str",
    ),
    "a link without end": (
        lambda client, job: client.link(job, expires=8 * 86_400),
        "expires: 1 s to 7 days, got 8 days",
    ),
    "one id": (
        lambda client, job: client.wait_all(str(job.id)),
        "jobs: a list, got str",
    ),
    "one id to replay": (
        lambda client, job: client.replay(job.id),
        "jobs: a list, got UUID",
    ),
    "nothing in a picture": (
        lambda _client, _job: Picture(name="mug.jpg"),
        "mug.jpg: a Picture has a path or data, one of them",
    ),
    "a file's data": (
        lambda _client, _job: Picture(name="mug.jpg", data="..."),  # type: ignore[arg-type]
        "mug.jpg: data: bytes, got str",
    ),
    "a picture's path": (
        lambda _client, _job: Picture(name="mug.jpg", path=7),  # type: ignore[arg-type]
        "mug.jpg: path: a path, got int",
    ),
    "an edit for many": (
        lambda client, _job: client.submit_many(edit()),  # type: ignore[arg-type]
        "edits: a list, got Edit",
    ),
    "edits by name": (
        lambda client, _job: client.submit_many({"mug": edit()}),  # type: ignore[dict-item]
        "edits: a list, got dict",
    ),
    "no batch": (
        lambda client, _job: client.batch(None),  # type: ignore[arg-type]
        "batch: expected str, got NoneType",
    ),
    "a batch's number": (
        lambda client, _job: client.counts(batch=5),  # type: ignore[arg-type]
        "batch: expected str | None, got int",
    ),
    "a batch that cannot be": (
        lambda client, _job: client.batch("a\0b"),
        "batch: contains a NUL character",
    ),
    "a code that cannot be": (
        lambda client, _job: client.list(JobFilter(code="\ud800")),
        "code: contains a NUL character or half a surrogate pair",
    ),
    "no filter": (
        lambda client, _job: client.list("spring"),  # type: ignore[arg-type]
        "where: expected JobFilter, got str",
    ),
    "less than one": (
        lambda client, _job: client.list(limit=0),
        "limit: 1 or more, got 0",
    ),
    "a tenant to ask about": (
        lambda client, _job: client.list(JobFilter(tenant="a/b")),
        "tenant: letters, digits, '.', '_' and '-', at most 100, got 'a/b'",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_another_kind_is_refused_by_its_name(
    client: Client, shop: Shop, name: str
) -> None:
    call, message = CALLS[name]
    client.submit(edit())
    job = shop.complete_next()

    with pytest.raises(InvalidRequest, match=re.escape(message)):
        call(client, job)


@pytest.mark.parametrize("name", ["tenant", "model", "profile"])
def test_a_name_that_none_can_have_is_refused_before_anything_is_asked(
    shop: Shop, name: str
) -> None:
    usual: Any = {name: "a/b"}

    with pytest.raises(InvalidRequest, match=f"^{name}: letters, digits, .* got 'a/b'"):
        Client(ledger=shop.ledger, artifacts=shop.artifacts, dispatcher=shop.dispatcher, **usual)
