"""``jobs.dispatch.Dispatcher`` through Celery on Redis, and the Celery app of both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.breaker import Breaker
from jobs.dispatch import EDIT_IMAGE
from jobs.errors import BadSettings, Unavailable
from jobs.model import JobId
from jobs.outage import Outage

SOCKET_TIMEOUT: Final = 5.0  # seconds; a frozen Redis must not hold a thread for ever
CONNECT_TIMEOUT: Final = 2.0  # seconds
#: Long: recovery is the ledger's, and a repeat only ends at "claim".
VISIBILITY_TIMEOUT: Final = 86_400  # seconds
TURN: Final = "packshot.turn."  # begins the key that whoever fills a queue holds
TURN_TIMEOUT: Final = 3 * SOCKET_TIMEOUT  # seconds; more than all it does with Redis may take


def make_app(redis_url: str) -> Celery:
    """The Celery app.  Each setting with its reason."""
    app = _App("packshot", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,  # the ledger is the result backend
        task_serializer="json",
        accept_content=["json"],  # pickle would let whoever writes Redis run code
        task_acks_late=False,  # a message has served once its job is claimed
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,  # Flower
        task_send_sent_event=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # cards go on without Redis
        worker_enable_remote_control=True,  # Flower
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=CONNECT_TIMEOUT,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "max_retries": 1,  # of a connection; else a refused port costs a sender seconds
            "interval_start": 0,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
    )
    return app


class _App(Celery):
    """Its broker is the one that it was given.

    Celery itself prefers what ``CELERY_BROKER_URL``, ``…_READ_URL`` and ``…_WRITE_URL`` say in the
    environment, perhaps to another program: our messages would go to that one's Redis.
    """

    def __init__(self, name: str, *, broker: str, **choices: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(name, broker=broker, **choices)
        self._ours = broker

    def connection(  # type: ignore[override]  # its many choices are handed on
        self,
        hostname: str | None = None,
        **choices: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return super().connection(hostname or self._ours, **choices)

    def connection_for_read(self, url: str | None = None, **choices: Any) -> Any:  # noqa: ANN401
        return super().connection_for_read(url or self._ours, **choices)

    def connection_for_write(self, url: str | None = None, **choices: Any) -> Any:  # noqa: ANN401
        return super().connection_for_write(url or self._ours, **choices)


class CeleryDispatcher:
    """Call it from a background thread: a frozen Redis costs it seconds."""

    def __init__(self, redis_url: str, *, breaker: Breaker | None = None) -> None:
        """Raises ``BadSettings`` for a URL that cannot be read."""
        self.where = _where(redis_url)
        self.app = make_app(redis_url)
        self.breaker = breaker or Breaker()
        self.outage = Outage("redis")
        self._redis = client_of(redis_url)

    def ready(self) -> bool:
        return not self.breaker.is_open

    def dispatch(self, queue: str, job_ids: Sequence[JobId]) -> None:
        with self._gate(), self.app.producer_or_acquire() as producer:
            for job_id in job_ids:
                self.app.send_task(
                    EDIT_IMAGE,
                    args=(str(job_id),),
                    task_id=str(job_id),  # so that ``waiting`` reads it from the header
                    queue=queue,
                    producer=producer,
                    retry=False,  # the reconciler's next tick is the retry
                )

    @contextmanager
    def turn(self, queue: str) -> Iterator[bool]:
        lock = self._redis.lock(f"{TURN}{queue}", timeout=TURN_TIMEOUT)
        try:
            with self._gate():
                mine = bool(lock.acquire(blocking=False))
        except Unavailable as error:  # a Redis that is full or read-only still answers questions
            self.outage.begins(error)
            mine = False
        else:
            self.outage.ends()
        try:
            yield mine
        finally:
            if mine:
                with suppress(redis.RedisError, OSError):  # it ends by itself
                    lock.release()

    def length(self, queue: str) -> int:
        with self._gate():
            length: Any = self._redis.llen(queue)
        return int(length)

    def waiting(self, queue: str) -> set[JobId]:
        with self._gate():
            waiting: Any = self._redis.lrange(queue, 0, -1)
        named = [_named(raw) for raw in waiting]
        return {job_id for job_id in named if job_id is not None}

    def close(self) -> None:
        self._redis.close()
        self.app.close()

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Kombu's and redis-py's errors become ours here, and the breaker learns of them."""
        if self.breaker.is_open:
            raise Unavailable(f"Redis at {self.where} did not answer a moment ago")
        try:
            yield
        except (OperationalError, redis.RedisError, OSError) as error:
            self.breaker.failed()
            reason = error.__cause__ or error
            told = str(reason) or type(reason).__name__
            raise Unavailable(f"Redis at {self.where}: {told}") from error
        self.breaker.succeeded()


def client_of(redis_url: str) -> redis.Redis:
    """Connected at its first use; one that is away costs seconds, and is told by redis-py's errors
    and ``OSError``."""
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        retry=Retry(NoBackoff(), 0),  # redis-py would try a refused port for seconds
    )


def _where(redis_url: str) -> str:
    try:
        parts = urlsplit(redis_url)
        if parts.scheme in {"redis", "rediss"} and parts.hostname:
            return f"{parts.hostname}:{parts.port or 6379}"
    except ValueError:  # a port that is no number
        pass
    raise BadSettings("PACKSHOT_REDIS_URL: not of the form redis://:PASSWORD@HOST:PORT/0")


def _named(raw: bytes) -> JobId | None:
    """The job of a message; ``None`` if it is none of ours, which must not stop a reconciler."""
    try:
        message = json.loads(raw)
        return JobId(UUID(message["headers"]["id"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
