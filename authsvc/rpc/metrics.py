"""Owns the metrics of calls, under the names of go-grpc-prometheus, so that public dashboards fit."""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

Begin = Callable[[], None]
End = Callable[[str, float], None]


class CallMetrics:
    """Counts calls begun and ended, and times them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started_total", "RPCs started on the server.", _METHOD, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled_total",
            "RPCs completed on the server, by status code.",
            (*_METHOD, "grpc_code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time the server took to answer.",
            _METHOD,
            buckets=_BUCKETS,
            registry=registry,
        )

    def of(self, method: str) -> tuple[Begin, End]:
        """Return what to call when a call of this RPC begins, and when it ends with a code after so many seconds.

        Labels are looked up here, once, not on each call.
        """
        service, _, name = method.partition("/")
        labels = ("server_stream" if name == "Watch" else "unary", service, name)
        observe = self._seconds.labels(*labels).observe

        @cache
        def count(code: str) -> Callable[[], None]:
            return self._handled.labels(*labels, code).inc

        def end(code: str, seconds: float) -> None:
            count(code)()
            observe(seconds)

        return self._started.labels(*labels).inc, end
