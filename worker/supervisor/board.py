"""What the host shows of its cards: to a probe, to Prometheus, to a person."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.pages import Page, Pages, well
from worker.supervisor.endings import Ending
from worker.supervisor.post import Post, State
from worker.supervisor.roll import Outcome
from worker.supervisor.supervisor import Supervisor
from worker.supervisor.totals import merged
from worker.tally import MEDIA_TYPE

#: A supervisor that has not looked at its children for so long stands still: seconds.
STILL: Final = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Board(Collector):
    """Read from threads of its own; it changes nothing."""

    supervisor: Supervisor
    memory_used: Callable[[str], float | None] = lambda _card: None  #: of a card, in bytes

    def pages(self) -> Pages:
        return {
            "/livez": lambda: well(self._why_not_live()),
            "/readyz": self._ready,
            "/status": lambda: Page.json(self.status()),
            "/metrics": self._metrics,
        }

    @property
    def _posts(self) -> Iterator[Post]:
        return iter(self.supervisor.posts)

    def _why_not_live(self) -> list[str]:
        age = self.supervisor.pulse.age
        return [f"the supervisor stands still for {age:.0f} s"] if age > STILL else []

    def _ready(self) -> Page:
        """One card is enough; the answer names those that are not."""
        problems = [f"{post.slot.name}: {_why(post)}" for post in self._posts if not post.is_ready]
        is_ready = len(problems) < len(self.supervisor.posts)
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Page.json({"ok": is_ready, "problems": problems}, status)

    def status(self) -> Mapping[str, Any]:
        roll = self.supervisor.roll
        return {
            "pid": os.getpid(),
            "ending": self.supervisor.is_ending,
            "roll": roll and {"outcome": roll.outcome, "why": roll.why, "done": roll.done},
            "cards": [self._card(post) for post in self._posts],
        }

    def _card(self, post: Post) -> Mapping[str, Any]:
        child = post.child
        return {
            "card": post.slot.name,
            "state": post.state,
            "ready": post.is_ready,
            "seconds": round(post.age, 1),
            "why": "" if post.is_ready else _why(post),
            "pid": child.process.pid if child else None,
            "environment": post.environment,
            "release": post.release,
            "restarts": post.restarts.total,
            "ends": dict(post.ends),
            "xids": dict(post.xids),
            "succeeded": int(post.totals.all("packshot_attempts_total", verdict="succeeded")),
            "failed": int(post.totals.all("packshot_attempts_total", verdict="failed")),
            "busy_share": post.busy_share,
            "memory_bytes": int(post.totals.now("process_resident_memory_bytes")) or None,
            "card_memory_bytes": self.memory_used(post.slot.name),
        }

    def _metrics(self) -> Page:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return Page(generate_latest(registry), MEDIA_TYPE)

    def describe(self) -> list[Metric]:
        """Nothing: what the children count is known when they have counted it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Our own numbers, and those of the children with their cards' names."""
        yield from self._states()
        yield from self._counts()
        yield from self._memory()
        yield self._releases()
        yield self._roll()
        yield from merged(post.totals for post in self._posts).values()

    def _states(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "packshot_card_state", "1 for the state that a card is in.", labels=["card", "state"]
        )
        ready = GaugeMetricFamily(
            "packshot_card_ready", "1 while a card's worker is ready.", labels=["card"]
        )
        for post in self._posts:
            ready.add_metric([post.slot.name], float(post.is_ready))
            for state in State:
                states.add_metric([post.slot.name, state], float(post.state is state))
        yield states
        yield ready

    def _counts(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily(
            "packshot_card_restarts", "Processes that followed one that ended.", labels=["card"]
        )
        exits = CounterMetricFamily(
            "packshot_worker_exits", "Ends of processes by reason.", labels=["card", "reason"]
        )
        xids = CounterMetricFamily(
            "packshot_xid_errors", "Errors that the driver told of.", labels=["card", "xid"]
        )
        for post in self._posts:
            restarts.add_metric([post.slot.name], post.restarts.total)
            for ending in Ending:
                exits.add_metric([post.slot.name, ending], post.ends[ending])
            for number, count in post.xids.items():
                xids.add_metric([post.slot.name, str(number)], count)
        yield from (restarts, exits, xids)

    def _memory(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            "packshot_card_memory_bytes", "Used on the card, by anybody.", labels=["card"]
        )
        for post in self._posts:
            count = self.memory_used(post.slot.name)
            if count is not None:
                used.add_metric([post.slot.name], count)
        yield used

    def _releases(self) -> Metric:
        releases = GaugeMetricFamily(
            "packshot_card_release",
            "1 for the release that a card's worker runs.",
            labels=["card", "release"],
        )
        for post in self._posts:
            if post.release:
                releases.add_metric([post.slot.name, post.release], 1.0)
        return releases

    def _roll(self) -> Metric:
        stopped = GaugeMetricFamily(
            "packshot_roll_stopped", "1 if the last rolling reload stopped before its end."
        )
        roll = self.supervisor.roll
        stopped.add_metric([], float(roll is not None and roll.outcome is Outcome.STOPPED))
        return stopped


def _why(post: Post) -> str:
    """Why nobody should count on this card now."""
    reported = "; ".join(post.watch.problems) if post.watch else ""
    return f"{post.state}: {post.why or reported}" if post.why or reported else str(post.state)
