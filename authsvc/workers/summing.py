"""Owns one page of metrics for several processes: counters and histograms added up, gauges side by side.

A gauge gets the label `worker`. What a worker had counted when it ended stays counted, so that no total runs back.
Leaves asking the workers to `supervisor`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

WORKER = "worker"
_ADDED_UP = frozenset({"counter", "histogram", "summary"})

# What is told of a process: for each family its name, text, type, unit and samples of (name, labels, value).
Told = list[Any]
_Key = tuple[str, tuple[tuple[str, str], ...]]


def told(registry: CollectorRegistry) -> Told:
    """Return all metrics of this process, as JSON can say them."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            family.unit,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in registry.collect()
    ]


def page(registry: CollectorRegistry) -> bytes:
    """Return metrics in the text format of Prometheus."""
    return generate_latest(registry)


class Summed(Collector):
    """What all workers tell, as one collector."""

    def __init__(self) -> None:
        self._last: dict[str, Told] = {}
        self._ended: Told = []

    def hear(self, worker: str, metrics: Told) -> None:
        """Take what a worker tells; it stands until the worker tells more."""
        self._last[worker] = metrics

    def end(self, worker: str) -> None:
        """Keep what a worker that has ended had counted, and nothing else of it."""
        before = {"": self._ended} if self._ended else {}
        counted = [family for family in self._last.pop(worker, []) if family[2] in _ADDED_UP]
        self._ended = _as_told(_summed({**before, worker: counted}))

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for prometheus-client."""
        yield from _summed({"": self._ended, **self._last})


def _as_told(families: Iterable[Metric]) -> Told:
    registry = CollectorRegistry()
    registry.register(_Fixed(list(families)))
    return told(registry)


class _Fixed(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _summed(by_worker: Mapping[str, Told]) -> list[Metric]:
    families: dict[str, Metric] = {}
    values: dict[str, dict[_Key, float]] = {}
    for worker, metrics in by_worker.items():
        for name, text, kind, unit, samples in metrics:
            families.setdefault(name, Metric(name, text, kind, unit))
            sums = values.setdefault(name, {})
            for sample, labels, value in samples:
                shown = labels if kind in _ADDED_UP else {**labels, WORKER: worker}
                key = (sample, tuple(shown.items()))
                sums[key] = sums.get(key, 0.0) + value
    for name, sums in values.items():
        for (sample, labels), value in sums.items():
            families[name].add_sample(sample, dict(labels), value)
    return list(families.values())
