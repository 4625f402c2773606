"""A plain Celery application, set as its documentation says for tasks that must not be lost.

``celery --app tests.chaos.plain_app worker``; the broker's address is in ``CELERY_BROKER_URL``,
which Celery reads by itself.
"""

from __future__ import annotations

import threading
import time

import redis
from celery import Celery

VISIBILITY_TIMEOUT = 3_600  # seconds; Celery's default on Redis
STARTS = "starts"  # list in Redis: when each run of a task began
SECONDS = 600.0  # that one task takes: longer than anybody watches

app = Celery("plain")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT},
)


@app.task(name="plain.edit")
def edit() -> None:
    """Say that it began, and go on for as long as it is let."""
    redis.Redis.from_url(app.conf.broker_url).rpush(STARTS, time.time())
    threading.Event().wait(SECONDS)
