"""Owns the metrics of an instance beside those of its calls: its view, its stores, its keys, its chores.

Nothing is counted here: numbers that the parts have anyway are read when somebody asks for them. Names begin with
`authsvc_`; no label holds anything that a caller chose. Leaves calls to `authsvc.rpc.metrics`.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from authsvc import __version__
from authsvc.app.rules import Parts
from authsvc.core.clock import SECOND
from authsvc.core.housekeeping import Housekeeping
from authsvc.core.model import KeyState
from authsvc.core.validate import Lookups
from authsvc.rpc.health import Health


class InstanceMetrics(Collector):
    """Reads an instance's numbers."""

    def __init__(self, parts: Parts, lookups: Lookups, housekeeping: Housekeeping, health: Health) -> None:
        self._parts = parts
        self._lookups = lookups
        self._housekeeping = housekeeping
        self._health = health
        self.loop_late_seconds = 0.0
        """How late the event loop was the last time that it was looked at."""

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for prometheus-client."""
        yield _labelled("authsvc", "The version that runs.", "version", {__version__: 1}, "_info")
        yield _gauge("authsvc_serving", "Whether all is well: 1 or 0.", self._health.is_serving)
        yield _gauge(
            "authsvc_event_loop_late_seconds", "How late the event loop was.", self.loop_late_seconds
        )
        yield from self._log()
        yield from self._stores()
        yield from self._keys()
        yield from self._chores()

    def _log(self) -> Iterator[Metric]:
        parts = self._parts
        age_ms = parts.outside.monotonic() - parts.view.fresh_at
        yield _gauge("authsvc_view_age_seconds", "Time since the revocation log was read.", age_ms / SECOND)
        yield _gauge("authsvc_view_entries", "Revocations in force.", len(parts.view))
        yield _gauge("authsvc_log_revision", "Newest revision that was read.", parts.view.revision)
        yield _gauge("authsvc_log_epoch", "Epoch of the cache.", parts.tail.position.epoch)
        yield _gauge("authsvc_watch_followers", "Open Watch streams.", parts.feed.followers)

    def _stores(self) -> Iterator[Metric]:
        parts, lookups = self._parts, self._lookups
        yield _gauge("authsvc_cache_up", "Whether the cache is connected: 1 or 0.", parts.cache.is_up())
        found = {"hit": lookups.hits, "miss": lookups.misses, "failed": lookups.failed}
        yield _counter("authsvc_cache_lookups", "Sessions asked of the cache.", "result", found)
        pools = parts.stores.database.pools
        lent = {name: pool.lent for name, pool in pools.items()}
        waiting = {name: pool.waiting for name, pool in pools.items()}
        yield _labelled("authsvc_sql_connections", "Connections in use.", "pool", lent)
        yield _labelled("authsvc_sql_waiting", "Calls that wait for a connection.", "pool", waiting)
        numbers = parts.stores.database.numbers
        seconds = HistogramMetricFamily("authsvc_sql_seconds", "Time that SQL took.", labels=["kind"])
        for kind, durations in numbers.durations.items():
            seconds.add_metric([kind], *durations.cumulative())
        yield seconds
        yield CounterMetricFamily("authsvc_sql_failed", "Statements without an answer.", value=numbers.failed)
        yield _gauge("authsvc_last_seen_waiting", "Uses of sessions not yet in SQL.", parts.last_seen.waiting)
        yield _gauge(
            "authsvc_passwords_under_way", "Passwords hashed, or waiting.", parts.passwords.under_way
        )
        yield _gauge(
            "authsvc_password_slots", "Passwords hashed at once at most.", parts.settings.password_slots
        )

    def _keys(self) -> Iterator[Metric]:
        keys = self._parts.keys.ring.keys
        counts = Counter({state.value: 0 for state in KeyState})
        counts.update(key.state.value for key in keys)
        yield _labelled("authsvc_signing_keys", "Published signing keys.", "state", counts)
        active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
        if active is not None:
            age_ms = self._parts.outside.clock() - (active.active_at or active.created_at)
            yield _gauge(
                "authsvc_signing_key_age_seconds", "Since when the active key signs.", age_ms / SECOND
            )

    def _chores(self) -> Iterator[Metric]:
        chores = self._housekeeping
        yield _gauge("authsvc_housekeeping_turn", "Whether it cleans up: 1 or 0.", chores.has_turn)
        yield _gauge(
            "authsvc_housekeeping_finished_seconds",
            "When it last had nothing left to clean up, or 0.",
            chores.finished_at / SECOND,
        )
        backlog = dict(chores.backlog)
        yield _labelled("authsvc_housekeeping_backlog", "What is due, up to 10,000.", "chore", backlog)
        yield _counter("authsvc_housekeeping_removed", "What was removed.", "chore", dict(chores.removed))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, label: str, values: dict[str, int], suffix: str = "") -> Metric:
    family = GaugeMetricFamily(name + suffix, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
