from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final, get_args
from uuid import UUID

import pytest

from jobs.ledger import JobFilter
from jobs.model import JobId, Priority
from jobs.pictures import MAX_BYTES
from jobs.testing import MemoryLedger
from producer.api.forms import EditForm
from tests.unit.producer.api.scenes import Downstream, Hand, photo

MUG: Final = ("mug.png", photo())
RED: Final = ("red.png", photo("red"))
BLUE: Final = ("blue.png", photo("blue"))
GREEN: Final = ("green.png", photo("green"))


def test_accepted_is_a_place_to_ask(api: Downstream) -> None:
    response = api.post()
    body = response.json()

    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/edits/{body['id']}" == body["links"]["self"]
    assert int(response.headers["retry-after"]) > 0
    assert body["state"] == "queued"
    assert body["queue_position"] == 0
    assert api.get(response.headers["location"]).json() == body


def test_every_choice_arrives(api: Downstream, memory: MemoryLedger) -> None:
    choices: dict[str, Any] = {
        "profile": "fast",
        "seed": "7",
        "steps": "12",
        "true_cfg_scale": "2.5",
        "negative": "blur",
        "size": "640x480",
        "format": "webp",
        "quality": "80",
        "alpha": "true",
        "priority": "bulk",
        "batch": "spring",
        "metadata": json.dumps({"sku": "杯-1"}),
    }
    spans: dict[str, Any] = {"start_within": "60", "run_limit": "1.5", "keep_for": "3600"}

    body = api.post(**choices, **spans).json()
    job = memory.get(JobId(UUID(body["id"])))

    numbers = {"seed": 7, "steps": 12, "true_cfg_scale": 2.5, "quality": 80, "alpha": True}
    arrived = {**choices, **numbers, "metadata": {"sku": "杯-1"}}
    assert {name: body[name] for name in choices} == arrived
    assert job.run_limit == timedelta(seconds=1.5)
    assert job.start_by is not None
    assert job.start_by - job.created_at == timedelta(minutes=1)


def test_a_blank_field_is_one_left_out(api: Downstream) -> None:
    blank = api.post(seed="", size="", model="", batch="", metadata="", wait_for_model="").json()

    assert blank["id"] == api.post().json()["id"]


def test_another_name_of_the_instruction_is_prompt(api: Downstream) -> None:
    body = api.http.post("/v1/edits", files={"image": MUG}, data={"prompt": "改成红色"}).json()

    assert body["instruction"] == "改成红色"


@pytest.mark.parametrize(
    "fields",
    [
        ("image", "image2", "image3"),
        ("image", "image", "image"),
        ("image[]", "image[]", "image[]"),
        ("image", "image[]", "image3"),
    ],
)
def test_the_first_picture_is_the_source_however_references_are_named(
    api: Downstream, fields: tuple[str, ...]
) -> None:
    plain = api.post(pictures=[("image", MUG), ("image", RED), ("image", BLUE)]).json()

    sent = list(zip(fields, (MUG, RED, BLUE), strict=True))

    assert api.post(pictures=sent).json()["pictures"] == plain["pictures"]
    assert len(set(plain["pictures"])) == 3


def test_a_browsers_empty_file_field_is_no_picture(api: Downstream) -> None:
    empty = b'--x\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem = api.http.post("/v1/edits", content=empty, headers=headers).json()

    assert problem["detail"] == "image: 1 to 3 pictures, got 0"


def test_a_repeat_is_the_same_job_and_202_while_in_flight(api: Downstream, hand: Hand) -> None:
    first = api.submit(key="k")
    hand.claim(first)
    again = api.post(key="k")

    assert again.status_code == 202
    assert again.json()["id"] == first
    assert again.json()["state"] == "running"


def test_a_repeat_of_a_finished_job_is_200_with_its_result(api: Downstream, hand: Hand) -> None:
    first = api.submit()
    hand.complete(first)
    again = api.post()

    assert again.status_code == 200
    assert again.json()["id"] == first
    assert again.json()["result"]["url"]
    assert "retry-after" not in again.headers


def test_the_same_key_for_another_request_is_refused(api: Downstream) -> None:
    first = api.submit(key="k")
    response = api.post(key="k", instruction="make it blue")
    problem = response.json()

    assert response.status_code == 422
    assert problem["code"] == "idempotency_conflict"
    assert first in problem["detail"]


ANIMATED: Final = b"GIF89a" + b"\0" * 64
BAD: Final[dict[str, tuple[dict[str, Any], str, tuple[str, ...]]]] = {
    "four pictures": (
        {"pictures": [("image", one) for one in (MUG, RED, BLUE, GREEN)]},
        "invalid_request",
        ("image: 1 to 3", "got 4", "green.png"),
    ),
    "text as a picture": (
        {"pictures": [("image", ("mug.txt", b"a mug"))]},
        "unusable_picture",
        ("mug.txt", "PNG"),
    ),
    "a truncated picture": (
        {"pictures": [("image", ("cut.jpg", photo(picture_format="JPEG")[:-200]))]},
        "unusable_picture",
        ("cut.jpg", "truncated"),
    ),
    "an empty file": (
        {"pictures": [("image", ("none.png", b""))]},
        "unusable_picture",
        ("none.png", "empty"),
    ),
    "a bad reference": (
        {"pictures": [("image", MUG), ("image2", ("ref.gif", ANIMATED))]},
        "unusable_picture",
        ("ref.gif",),
    ),
    "no instruction": ({"instruction": ""}, "invalid_request", ("instruction: empty",)),
    "a long instruction": (
        {"instruction": "x" * 100_000},
        "invalid_request",
        ("instruction: at most 2000 characters, got 100000",),
    ),
    "a seed in words": ({"seed": "seven"}, "invalid_request", ("seed:", "integer")),
    "a negative seed": ({"seed": "-1"}, "invalid_request", ("seed: 0 to",)),
    "too many steps": ({"steps": "201"}, "invalid_request", ("steps: ", "to 200, got 201")),
    "no number": ({"true_cfg_scale": "nan"}, "invalid_request", ("true_cfg_scale: 1 to 20",)),
    "a strange size": ({"size": "huge"}, "invalid_request", ("size: auto, source",)),
    "a strange format": ({"format": "gif"}, "invalid_request", ("format:", "'webp'")),
    "a PNG of some quality": ({"quality": "80"}, "invalid_request", ("quality: PNG loses",)),
    "no such quality": (
        {"quality": "101", "format": "jpeg"},
        "invalid_request",
        ("quality: 1 to 100, got 101",),
    ),
    "a transparent JPEG": (
        {"alpha": "true", "format": "jpeg"},
        "invalid_request",
        ("alpha: JPEG has no transparency; ask for png or webp",),
    ),
    "too many tokens": (
        {"instruction": "a b " * 500},
        "invalid_request",
        ("instruction: at most 955 tokens",),
    ),
    "metadata that is a list": ({"metadata": "[]"}, "invalid_request", ("metadata:",)),
    "metadata of numbers": ({"metadata": '{"n":1}'}, "invalid_request", ("metadata.n:", "string")),
    "half a surrogate pair": ({"metadata": '{"n":"\\ud800"}'}, "invalid_request", ("metadata:",)),
    "a NUL": ({"batch": "a\x00b"}, "invalid_request", ("batch", "NUL")),
    "an endless span": ({"run_limit": "inf"}, "invalid_request", ("run_limit:",)),
    "a span beyond calendars": ({"keep_for": "1e30"}, "invalid_request", ("keep_for:",)),
    "a misspelt field": ({"sede": "7"}, "invalid_request", ("sede: unknown field",)),
    "an unknown model": ({"model": "dall-e"}, "model_not_served", ("dall-e", "qwen")),
    "an unknown profile": ({"profile": "best"}, "model_not_served", ("best", "quality")),
    "a long key": ({"key": "k" * 256}, "invalid_request", ("idempotency key: 1 to 255",)),
    "an empty key": ({"key": ""}, "invalid_request", ("idempotency key: 1 to 255",)),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_what_which_and_the_limit(
    api: Downstream, memory: MemoryLedger, case: tuple[dict[str, Any], str, tuple[str, ...]]
) -> None:
    options, code, words = case

    response = api.post(**options)
    problem = response.json()

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert [word for word in words if word not in problem["detail"]] == []
    assert len(response.content) < 1_000  # what was sent is not sent back
    assert memory.counts(JobFilter()) == {}


def test_a_file_above_the_limit_is_named(api: Downstream) -> None:
    large = MUG[1] + bytes(MAX_BYTES)
    problem = api.post(pictures=[("image", ("large.png", large))]).json()

    assert problem["code"] == "unusable_picture"
    assert problem["detail"] == "large.png: more than 64 MiB, the limit for a file"


def test_a_picture_that_is_no_file_is_told_so(api: Downstream) -> None:
    form = {"image": (None, "mug.png"), "instruction": (None, "make it red")}
    problem = api.http.post("/v1/edits", files=form).json()

    assert problem["detail"] == "image.0: not a file: its part needs a filename"


@pytest.mark.parametrize("field", ["instruction", "seed", "image2"])
def test_a_field_given_twice_is_refused_where_one_would_be_lost(
    api: Downstream, memory: MemoryLedger, field: str
) -> None:
    sent: Any = MUG if field == "image2" else (None, "7")
    parts: Any = [("image", MUG), ("instruction", (None, "red")), (field, sent), (field, sent)]
    response = api.http.post("/v1/edits", files=parts)

    assert response.status_code == 422
    assert f"{field}: given twice" in response.json()["detail"]
    assert memory.counts(JobFilter()) == {}


def test_json_is_told_to_come_as_a_form(api: Downstream) -> None:
    response = api.http.post("/v1/edits", json={"instruction": "make it red"})

    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"
    assert "send multipart/form-data, not application/json" in response.json()["detail"]


def test_a_broken_form_is_a_bad_request(api: Downstream) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    response = api.http.post("/v1/edits", content=b"no boundary", headers=headers)

    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


def test_the_form_knows_every_priority() -> None:
    named = get_args(EditForm.model_fields["priority"].annotation)

    assert set(named) == {one.name.lower() for one in Priority}
