from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from jobs.errors import InvalidRequest, JobNotFound, ModelNotServed, Timeout, UnusablePicture
from jobs.ids import new_job_id
from jobs.ledger import Submitted
from jobs.model import ArtifactKey, Job, JobId
from jobs.settings import ProducerSettings
from jobs.testing import MemoryArtifacts
from producer import client as client_module
from producer.bootstrap import connect
from producer.client import Client
from producer.edits import Edit
from producer.inputs import Picture
from tests.services import eventually
from tests.unit.producer.shop import WORKER, Shop, WorkedLedger, photo


def edit(instruction: str = "red", **options: Any) -> Edit:  # noqa: ANN401 - fields of Edit
    picture = Picture(name="mug.png", data=photo())
    return Edit(pictures=[picture], instruction=instruction, **options)


class CountingLedger(WorkedLedger):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        self.asked.append(len(job_ids))
        return super().get_many(job_ids)


@pytest.fixture
def client(shop: Shop) -> Client:
    return shop.client()


def test_waiting_asks_only_for_jobs_that_are_not_finished() -> None:
    ledger = CountingLedger()
    shop = Shop(ledger=ledger)
    ledger.register(WORKER)
    jobs = [shop.client().submit(edit(name)) for name in "abc"]
    ledger.work = shop.complete_next
    done = shop.client().wait_all([job.id for job in jobs])

    assert [job.id for job in done] == [job.id for job in jobs]
    assert ledger.asked == [3, 3, 2, 1]


def test_each_edit_counts_as_it_is_uploaded(client: Client) -> None:
    counted: list[None] = []
    edits = [edit("red"), edit(""), edit("blue")]
    list(client.submitting(edits, each=lambda: counted.append(None)))

    assert len(counted) == 3


def uploads(shop: Shop) -> list[str]:
    return [key for key in shop.artifacts.keys("") if "/inputs/" in key]


def test_nothing_is_uploaded_for_a_model_that_nobody_offers(shop: Shop) -> None:
    client = shop.client()
    wrong = [edit("red", profile="unheard-of"), edit("blue", model="unheard-of")]

    outcomes = client.submit_many([*wrong, edit("", profile="fast")])

    assert [type(one) for one in outcomes] == [ModelNotServed, ModelNotServed, InvalidRequest]
    assert uploads(shop) == []


def test_a_model_whose_worker_has_just_come_is_offered(shop: Shop) -> None:
    client = shop.client()
    with pytest.raises(ModelNotServed):
        client.submit(edit(model="edit-2"))
    late = replace(WORKER, id=uuid4(), model=replace(WORKER.model, name="edit-2"))
    shop.ledger.register(late)

    eventually(lambda: isinstance(client.submit_many([edit(model="edit-2")])[0], Submitted))


def test_a_picture_of_many_edits_is_uploaded_once(shop: Shop) -> None:
    client = shop.client()
    counted: list[str] = []
    put = shop.artifacts.put

    def count(key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        counted.append(key)
        put(key, data, media_type=media_type)

    shop.artifacts.put = count  # type: ignore[method-assign]
    outcomes = client.submit_many([edit(f"{number}") for number in range(700)])

    assert len({one.job.id for one in outcomes if isinstance(one, Submitted)}) == 700
    assert len(counted) == 1


def test_who_interrupts_waits_for_no_picture_that_is_not_on_its_way_yet() -> None:
    interrupted = threading.Event()
    colours = [f"rgb({number % 256}, {number // 256}, 0)" for number in range(500)]
    edits = [Edit(pictures=[photo(one)], instruction="red") for one in colours]
    taken = []

    class SlowArtifacts(MemoryArtifacts):
        """Takes the first picture, and the others once somebody has had enough."""

        def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
            assert data in edits[0].pictures or interrupted.wait(30)
            taken.append(key)
            super().put(key, data, media_type=media_type)

    def interrupt() -> None:
        interrupted.set()
        raise KeyboardInterrupt

    shop = Shop(artifacts=SlowArtifacts())
    shop.ledger.register(WORKER)

    with pytest.raises(KeyboardInterrupt):
        list(shop.client().submitting(edits, each=interrupt))
    assert len(taken) < len(edits)
    assert shop.jobs == []


def test_an_edit_without_its_picture_harms_no_other(client: Client, tmp_path: Path) -> None:
    missing = replace(edit("two"), pictures=[Picture.at(tmp_path / "gone.png")])

    outcomes = client.submit_many([edit("one"), missing, edit("three")])

    assert [type(one) for one in outcomes] == [Submitted, UnusablePicture, Submitted]


def test_a_batch_is_read_page_by_page_oldest_first(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 2)
    jobs = [client.submit(edit(name, batch="spring")) for name in "abcde"]
    client.submit(edit("f", batch="other"))

    assert [job.id for job in client.batch("spring")] == [job.id for job in jobs]
    with pytest.raises(JobNotFound, match="no job in batch 'autumn' of tenant 'default'"):
        client.batch("autumn")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("field", ["instruction", "negative", "idempotency_key", "batch"])
def test_text_that_postgres_cannot_store_is_refused(client: Client, field: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match="contains a NUL character"):
        client.submit(edit(**{"instruction": "x", field: text}))
    with pytest.raises(InvalidRequest, match="metadata 'sku': contains a NUL character"):
        client.submit(edit(metadata={"sku": text}))


@pytest.mark.parametrize("field", ["instruction", "negative"])
def test_with_a_tokenizer_what_is_too_long_is_refused_before_it_is_sent(
    shop: Shop, field: str
) -> None:
    def count(text: str) -> int:
        return len(text) // 2

    client = Client(
        ledger=shop.ledger,
        artifacts=shop.artifacts,
        dispatcher=shop.dispatcher,
        count_tokens=count,
    )
    with pytest.raises(InvalidRequest, match=f"{field}: at most 955 tokens, got 999 or more"):
        client.submit(edit(**{"instruction": "red", field: "杯" * 2_000}))

    assert list(shop.artifacts.keys("default/")) == []


def test_the_tokenizer_is_a_setting() -> None:
    settings = ProducerSettings(
        database_url=SecretStr("postgresql://a:b@127.0.0.1:9/p"),
        redis_url=SecretStr("redis://:a@127.0.0.1:9/0"),
        s3_url=SecretStr("http://a:b@127.0.0.1:9/packshot"),
        tokenizer=Path(__file__).parents[3] / "models/tiny/tokenizer/tokenizer.json",
    )
    with connect(settings) as client, pytest.raises(InvalidRequest, match="at most 955 tokens"):
        client.submit(edit("z" * 2_000))


def test_history_of_an_unknown_job_is_not_found(client: Client) -> None:
    with pytest.raises(JobNotFound):
        client.history(new_job_id())


def test_a_wait_that_ends_too_early_says_how_many_are_left(client: Client) -> None:
    job = client.submit(edit())

    with pytest.raises(Timeout, match="1 of 1 jobs not finished after"):
        client.wait(job.id, timeout=timedelta(milliseconds=1))


@pytest.mark.parametrize("what", ["status", "place", "history", "result", "cancel", "wait"])
def test_what_is_no_id_is_told_by_name(client: Client, what: str) -> None:
    with pytest.raises(InvalidRequest, match="'nonsense' is no job id"):
        getattr(client, what)("nonsense")
