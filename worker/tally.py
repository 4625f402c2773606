"""What this process has done, in Prometheus' words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from jobs.model import Priority
from jobs.outage import Outage
from worker.attempt.outcomes import Verdict
from worker.held import Held
from worker.pages import Page

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Bounds of the waits that people ask about: seconds.
WAITS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400)


class Tally:
    """Counts attempts as they end.  Thread-safe."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._count = self._shown = 0  # attempts that ended, and that somebody has read
        self._news = threading.Condition()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._attempts = Counter(
            "packshot_attempts",
            "Attempts by how they ended.",
            ["verdict"],
            registry=self.registry,
        )
        for verdict in Verdict:  # a rate needs the zero that it rises from
            self._attempts.labels(verdict)
        self._stages = Counter(
            "packshot_stage_seconds",
            "Seconds of attempts by stage; stage=card is the time on the card.",
            ["stage"],
            registry=self.registry,
        )
        self._waits = Histogram(
            "packshot_queue_wait_seconds",
            "From submit to the first attempt, by the ledger's clock.",
            ["priority"],
            buckets=WAITS,
            registry=self.registry,
        )
        for priority in Priority:
            self._waits.labels(priority.name.lower())

    def watch(self, is_busy: Callable[[], bool]) -> None:
        """From now on there is a card."""
        busy = Gauge("packshot_card_busy", "1 while a job is on the card.", registry=self.registry)
        busy.set_function(lambda: float(is_busy()))

    def depend_on(self, outages: Iterable[Outage]) -> None:
        """From now on these services are needed."""
        away = Gauge(
            "packshot_service_away",
            "1 if it did not answer when it was last needed.",
            ["service"],
            registry=self.registry,
        )
        for outage in outages:
            away.labels(outage.service).set_function(partial(_lasts, outage))

    def ended(self, held: Held, verdict: Verdict) -> None:
        """An attempt is over."""
        self._attempts.labels(verdict).inc()
        for stage, seconds in held.timings.items():
            if stage != "total":
                self._stages.labels(stage).inc(seconds)
        job = held.job
        if held.lease.attempt == 1 and job.started_at is not None:
            waited = (job.started_at - job.created_at).total_seconds()
            self._waits.labels(job.priority.name.lower()).observe(waited)
        with self._news:
            self._count += 1

    def page(self) -> Page:
        count = self._count
        return Page(generate_latest(self.registry), MEDIA_TYPE, sent=partial(self._read, count))

    def wait_read(self, timeout: float) -> bool:
        """True once somebody has read all of it; ``timeout`` in seconds."""
        with self._news:
            return self._news.wait_for(lambda: self._shown >= self._count, timeout)

    def _read(self, count: int) -> None:
        with self._news:
            self._shown = max(self._shown, count)
            self._news.notify_all()


def _lasts(outage: Outage) -> float:
    return float(outage.lasts)
