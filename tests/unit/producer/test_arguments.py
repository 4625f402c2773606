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
from jobs.ledger import Submitted
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
    spellings = [mug, str(mug), photo(), Picture.at(mug), Picture(name="mug", path=mug)]

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


def test_a_link_is_asked_for_by_the_job_or_by_its_id(client: Client, shop: Shop) -> None:
    job = client.submit(edit())
    shop.complete_next()

    assert client.link(job.id) == client.link(str(job.id)) == client.link(client.status(job.id))


WRONG: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "one picture": ({"pictures": "mug.jpg"}, "pictures: a list, got str"),
    "no list": ({"pictures": None}, "pictures: a list, got NoneType"),
    "a number": ({"pictures": [7]}, "pictures: each a path, bytes or a Picture, got int"),
    "no text": ({"instruction": None}, "instruction: expected str, got NoneType"),
    "a seed": ({"seed": "7"}, "seed: expected int | None, got str"),
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
