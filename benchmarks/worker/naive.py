"""The worker that everybody writes first: Celery's solo pool, one thing after another."""

from __future__ import annotations

import atexit
from functools import cache

from celery import Celery

from benchmarks.queue.settings import REDIS
from benchmarks.worker.card import SleepingCard
from benchmarks.worker.settings import CARD_SECONDS, RECORD
from jobs import pictures
from jobs.model import ArtifactKey, EditRequest, OutputFormat
from jobs.s3 import S3Store
from jobs.settings import Settings
from worker.engine.base import edited

app = Celery("naive", broker=REDIS or "memory://")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="bench.naive",
    worker_prefetch_multiplier=1,
)


@cache
def _card() -> SleepingCard:
    card = SleepingCard("cpu:0", CARD_SECONDS, RECORD)
    atexit.register(card.close)
    return card


@cache
def _bucket() -> S3Store:
    return S3Store.from_url(Settings.load().s3_url.get_secret_value())


@app.task(name="edit")
def edit(source: str, output_format: str, number: int) -> None:
    """Download, decode, edit, encode, upload."""
    wanted = OutputFormat(output_format)
    image = pictures.decode(_bucket().get(ArtifactKey(source)), name=source)
    request = EditRequest(pictures=("0" * 64,), instruction="nothing", format=wanted)
    made = edited(_card(), [image], request, seed=number)
    data = pictures.encode(made, wanted)
    _bucket().put(ArtifactKey(f"naive/{number}"), data, media_type=wanted.media_type)
