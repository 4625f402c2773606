"""The artifacts and the dispatcher in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobs.artifacts import ArtifactStore
from jobs.dispatch import Dispatcher
from jobs.errors import NoSuchArtifact, Unavailable
from jobs.ids import new_job_id
from jobs.model import ArtifactKey
from jobs.testing import MemoryArtifacts, MemoryLedger, RecordingDispatcher
from tests.conformance.scenes import WORKER, all_submitted, at_once, several

SHIRT, MUG = ArtifactKey("a/inputs/shirt"), ArtifactKey("a/inputs/mug")
ONE, TWO = new_job_id(), new_job_id()


@pytest.fixture
def store() -> MemoryArtifacts:
    return MemoryArtifacts()


@pytest.fixture
def dispatcher() -> RecordingDispatcher:
    return RecordingDispatcher()


@pytest.fixture
def _hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hurried")
def test_a_ledger_in_memory_gives_one_lease_however_many_threads_ask() -> None:
    ledger = MemoryLedger()
    ledger.register(WORKER)
    ids = all_submitted(ledger, several(300))

    def claim_all() -> int:
        return sum(ledger.claim(job_id, WORKER) is not None for job_id in ids)

    assert sum(at_once([claim_all] * 4)) == 300


def test_what_is_put_is_got(store: MemoryArtifacts) -> None:
    port: ArtifactStore = store
    port.put(SHIRT, b"pixels", media_type="image/png")

    assert port.get(SHIRT) == b"pixels"
    assert port.exists(SHIRT)
    assert store.media_type(SHIRT) == "image/png"


def test_what_is_not_there_is_named(store: MemoryArtifacts) -> None:
    assert not store.exists(SHIRT)

    with pytest.raises(NoSuchArtifact, match=SHIRT):
        store.get(SHIRT)


def test_deleting_what_is_not_there_is_no_error(store: MemoryArtifacts) -> None:
    store.put(SHIRT, b"pixels", media_type="image/png")
    store.delete([SHIRT, MUG])

    assert not store.exists(SHIRT)


def test_keys_are_found_by_prefix(store: MemoryArtifacts) -> None:
    for key in (SHIRT, MUG, ArtifactKey("b/inputs/shirt")):
        store.put(key, b"pixels", media_type="image/png")

    assert {*store.keys("a/inputs/")} == {SHIRT, MUG}


def test_a_link_says_what_was_asked_for(store: MemoryArtifacts) -> None:
    link = store.link(SHIRT, expires=timedelta(minutes=5), download_as="衫.png")

    assert link == ("memory://artifacts/a/inputs/shirt?expires=300&download_as=%E8%A1%AB.png")


def test_messages_wait_in_their_queue_until_delivered(dispatcher: RecordingDispatcher) -> None:
    port: Dispatcher = dispatcher
    port.dispatch("q", [ONE, TWO])
    waiting = port.waiting("q")
    first = dispatcher.deliver("q")

    assert waiting == {ONE, TWO}
    assert first == ONE
    assert port.waiting("q") == {TWO}
    assert port.waiting("other") == set()
    assert dispatcher.deliver("other") is None
    assert dispatcher.sent == [("q", ONE), ("q", TWO)]


def test_a_broker_that_is_away_takes_nothing(dispatcher: RecordingDispatcher) -> None:
    dispatcher.away = True

    assert not dispatcher.ready()
    with pytest.raises(Unavailable):
        dispatcher.dispatch("q", [ONE])
    with pytest.raises(Unavailable):
        dispatcher.waiting("q")
    assert dispatcher.sent == []


def test_a_broker_may_lose_everything(dispatcher: RecordingDispatcher) -> None:
    dispatcher.dispatch("q", [ONE])
    dispatcher.lose_all()

    assert dispatcher.waiting("q") == set()
