"""Owns the metrics of calls, under the names of go-grpc-prometheus, so that public dashboards fit.

Two numbers change with every call, so they are plain attributes, changed by the one thread that runs the event loop;
prometheus-client's own counters take a lock for each, and five times as long. It reads them when it is asked.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class MethodMetrics:
    """The numbers of one RPC. `started` is for the caller to count."""

    __slots__ = ("_buckets", "_ended", "_seconds", "started")

    def __init__(self) -> None:
        self.started = 0
        self._ended: Counter[str] = Counter()
        self._seconds = 0.0
        self._buckets = [0] * (len(_BUCKETS) + 1)

    def end(self, code: str, seconds: float) -> None:
        """Count a call that ended with this code after so many seconds."""
        self._ended[code] += 1
        self._seconds += seconds
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1

    def ended(self) -> list[tuple[str, int]]:
        """How many calls ended, by code."""
        return list(self._ended.items())

    def times(self) -> tuple[list[tuple[str, float]], float]:
        """Calls that took up to each bound, as a histogram has them, and the seconds of all calls together."""
        bounds = [*map(str, _BUCKETS), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self._buckets)), strict=True)), self._seconds


class CallMetrics(Collector):
    """Counts calls begun and ended, and times them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.under_way = 0
        """Calls begun and not yet ended, of all RPCs together."""
        self._methods: dict[tuple[str, ...], MethodMetrics] = {}
        self._refused: Counter[tuple[str, ...]] = Counter()
        registry.register(self)

    def of(self, method: str) -> MethodMetrics:
        """Return the numbers of an RPC, `package.Service/Method`. Looked up once, not on each call."""
        service, _, name = method.partition("/")
        labels = ("server_stream" if name == "Watch" else "unary", service, name)
        return self._methods.setdefault(labels, MethodMetrics())

    def refuse(self, method: str, reason: str) -> None:
        """Count a call that was refused, by the name of its ErrorReason."""
        self._refused[(*method.split("/"), reason)] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for prometheus-client."""
        started = CounterMetricFamily("grpc_server_started", "RPCs started on the server.", labels=_METHOD)
        handled = CounterMetricFamily(
            "grpc_server_handled",
            "RPCs completed on the server, by status code.",
            labels=(*_METHOD, "grpc_code"),
        )
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds", "Time the server took to answer.", labels=_METHOD
        )
        for labels, method in self._methods.items():
            started.add_metric(labels, method.started)
            for code, count in method.ended():
                handled.add_metric((*labels, code), count)
            seconds.add_metric(labels, *method.times())
        refused = CounterMetricFamily(
            "authsvc_calls_refused", "RPCs that ended with a reason.", labels=(*_METHOD[1:], "reason")
        )
        for refused_labels, count in list(self._refused.items()):
            refused.add_metric(refused_labels, count)
        under_way = GaugeMetricFamily(
            "authsvc_calls_under_way", "RPCs begun and not ended.", value=self.under_way
        )
        yield from (started, handled, seconds, refused, under_way)
