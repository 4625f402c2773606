"""The dispatcher over a real Redis, and over none."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from time import monotonic
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection, Message, Queue

from jobs.breaker import Breaker
from jobs.celery_dispatch import SOCKET_TIMEOUT, CeleryDispatcher
from jobs.dispatch import EDIT_IMAGE
from jobs.errors import Unavailable
from jobs.ids import new_job_id
from tests.services import refused_port

JOB = new_job_id()


@pytest.fixture
def queue() -> str:
    return f"edit.test.{secrets.token_hex(4)}"


@pytest.fixture
def dispatcher(redis_url: str) -> Iterator[CeleryDispatcher]:
    dispatcher = CeleryDispatcher(redis_url)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as server:
        yield server


@pytest.fixture
def delivered(dispatcher: CeleryDispatcher, redis_url: str, queue: str) -> Iterator[Message]:
    """As to a worker that never acknowledges it."""
    dispatcher.dispatch(queue, [JOB])
    with Connection(redis_url) as connection:
        message = Queue(queue)(connection).get(accept=["json"])
        assert message is not None
        yield message


def test_a_message_carries_the_job_s_id_and_nothing_else(delivered: Message) -> None:
    arguments, options, _embedded = delivered.decode()

    assert (arguments, options) == ([str(JOB)], {})
    assert delivered.headers["task"] == EDIT_IMAGE


@pytest.mark.usefixtures("delivered")
def test_a_message_that_was_delivered_waits_no_more(
    dispatcher: CeleryDispatcher, queue: str
) -> None:
    """Nor if it is never acknowledged: Redis keeps what a dead worker had for a day."""
    assert dispatcher.waiting(queue) == set()


@pytest.mark.parametrize(
    "garbage", ["no JSON", "5", "[]", "{}", '{"headers": {"id": 5}}', '{"headers": {"id": "x"}}']
)
def test_a_stranger_s_message_hides_none_of_ours(
    dispatcher: CeleryDispatcher, server: redis.Redis, queue: str, garbage: str
) -> None:
    dispatcher.dispatch(queue, [JOB])
    server.lpush(queue, garbage)

    assert JOB in dispatcher.waiting(queue)


def test_messages_come_in_the_order_of_their_jobs(
    dispatcher: CeleryDispatcher, redis_url: str, queue: str
) -> None:
    jobs = [new_job_id() for _ in range(3)]
    dispatcher.dispatch(queue, jobs)

    with Connection(redis_url) as connection:
        bound = Queue(queue)(connection)
        taken = [bound.get(accept=["json"], no_ack=True) for _ in jobs]

    assert [one and one.headers["id"] for one in taken] == [str(one) for one in jobs]


def test_a_refused_port_costs_no_time_and_opens_the_breaker() -> None:
    now = 0.0
    took: list[float] = []
    with refused_port() as port:
        breaker = Breaker(clock=lambda: now)
        dispatcher = CeleryDispatcher(f"redis://127.0.0.1:{port}/0", breaker=breaker)
        for _ in range(5):
            began = monotonic()
            with pytest.raises(Unavailable, match=f"127.0.0.1:{port}.*[Cc]onnection refused"):
                dispatcher.dispatch("q", [JOB])
            took.append(monotonic() - began)
            with pytest.raises(Unavailable, match="did not answer a moment ago"):
                dispatcher.dispatch("q", [JOB])
            now += 60
        now -= 60
        dispatcher.close()

    assert min(took) < 0.3  # Celery's own way takes 0.6 s, however idle the machine is
    assert not dispatcher.ready()


def test_a_redis_that_says_nothing_is_given_up_in_time() -> None:
    """As one that is stopped: the kernel accepts for it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        dispatcher = CeleryDispatcher(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = monotonic()
        with pytest.raises(Unavailable):
            dispatcher.waiting("q")
        dispatcher.close()

    assert monotonic() - began < 2 * SOCKET_TIMEOUT
    assert not dispatcher.ready()


def test_a_refused_password_is_told_without_repeating_it(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    dispatcher = CeleryDispatcher(f"redis://:not-this@{parts.hostname}:{parts.port}/0")

    with pytest.raises(Unavailable, match="password") as caught:
        dispatcher.dispatch("q", [JOB])
    with pytest.raises(Unavailable):
        dispatcher.waiting("q")
    dispatcher.close()

    assert "not-this" not in str(caught.value)


def test_an_answer_closes_the_breaker(redis_url: str, queue: str) -> None:
    now = 0.0
    breaker = Breaker(clock=lambda: now)
    breaker.failed()
    dispatcher = CeleryDispatcher(redis_url, breaker=breaker)
    assert not dispatcher.ready()

    now = 60.0
    dispatcher.dispatch(queue, [JOB])
    dispatcher.close()
    now = 0.0

    assert dispatcher.ready()
