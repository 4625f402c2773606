"""What a card's processes have counted, one after the other: sums that never fall."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

#: A sample's name and its labels.
Key = tuple[str, tuple[tuple[str, str], ...]]
SUMMED = frozenset({"counter", "histogram", "summary"})


class Totals:
    """Fed with each process's page; counters start from zero in each, here they go on."""

    def __init__(self, card: str) -> None:
        self._card = card
        self._lock = threading.Lock()
        self._families: dict[str, tuple[str, str]] = {}  # type and help, by name
        self._of: dict[Key, str] = {}  # which family a sample is of
        self._before: dict[Key, float] = {}
        self._now: dict[Key, float] = {}

    def take(self, page: str) -> None:
        """What the process that runs now shows, in Prometheus' text format."""
        fresh: dict[Key, float] = {}
        families = list(text_string_to_metric_families(page))
        with self._lock:
            for family in families:
                self._families[family.name] = (family.type, family.documentation)
                for sample in family.samples:
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    self._of[key], fresh[key] = family.name, sample.value
            self._now = fresh

    def turn(self) -> None:
        """The process has ended: the next one counts from zero."""
        with self._lock:
            for key, value in self._now.items():
                if self._families[self._of[key]][0] in SUMMED:
                    self._before[key] = self._before.get(key, 0.0) + value
            self._now = {}

    def now(self, name: str, **labels: str) -> float:
        """Of the process that runs now."""
        return self._now.get((name, tuple(sorted(labels.items()))), 0.0)

    def all(self, name: str, **labels: str) -> float:
        """Of all processes so far."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            return self._sum(key)

    def add_to(self, metrics: dict[str, Metric]) -> None:
        """Add the samples, with the card's name, to the metrics of all cards."""
        with self._lock:
            keys = dict.fromkeys([*self._before, *self._now])
            for key in keys:
                name = self._of[key]
                kind, text = self._families[name]
                metric = metrics.setdefault(name, Metric(name, text, kind))
                labels = {**dict(key[1]), "card": self._card}
                metric.add_sample(key[0], labels, self._sum(key))

    def _sum(self, key: Key) -> float:
        return self._before.get(key, 0.0) + self._now.get(key, 0.0)


def merged(all_totals: Iterable[Totals]) -> Mapping[str, Metric]:
    metrics: dict[str, Metric] = {}
    for totals in all_totals:
        totals.add_to(metrics)
    return metrics
