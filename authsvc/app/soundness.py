"""Owns finding what is unsafe in the things that the settings lead to: the certificate, the database, the cache.

Settings that are wrong in themselves have been refused before: see `authsvc.settings`.
"""

import asyncio
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry, Gauge

from authsvc.app.certificates import read_good
from authsvc.core.clock import Clock
from authsvc.core.contracts import StoreUnavailable
from authsvc.settings import Settings
from authsvc.settings.certificate_files import CertificatesUnusable
from authsvc.stores.sql import SqlStores, address, soundness
from authsvc.stores.valkey import CacheStores

_LOOK_EVERY_S = 60.0
_log = structlog.get_logger("authsvc")


async def mistakes(settings: Settings, stores: SqlStores, cache: CacheStores, clock: Clock) -> list[str]:
    """Return all that is unsafe, a sentence each, with the setting that leads to it.

    Raises StoreUnavailable if SQL does not answer. A cache that does not may be up later: see `StoreWatch`.
    """
    return [
        *_of_certificate(settings, clock),
        *await _of_database(settings, stores),
        *(await _of_cache(cache) or ()),
    ]


class StoreWatch:
    """Looks at the stores' settings again and again: they may be changed, and a failover may lead to other servers.

    A server that is up is not stopped for it: it says so in the log, once, and in a metric.
    """

    def __init__(
        self, settings: Settings, stores: SqlStores, cache: CacheStores, metrics: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._cache = cache
        self._said: dict[str, list[str]] = {"database": [], "cache": []}
        self._gauge = Gauge(
            "authsvc_store_setting_problems",
            "How many settings of the stores are unsafe, as far as is known.",
            ["store"],
            registry=metrics,
        )

    async def run(self) -> None:
        """Look each minute, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look now. What does not answer is as it was."""
        with suppress(StoreUnavailable):
            self._say("database", await _of_database(self._settings, self._stores))
        found = await _of_cache(self._cache)
        if found is not None:
            self._say("cache", found)

    def _say(self, store: str, found: list[str]) -> None:
        self._gauge.labels(store).set(len(found))
        for each in found:
            if each not in self._said[store]:
                _log.error("a store is set up in a way that is not safe", cause=each)
        self._said[store] = found


async def _of_database(settings: Settings, stores: SqlStores) -> list[str]:
    """What is unsafe in the database; SQLite, a file that only we open, has nothing to look at."""
    if not address.is_postgresql(address.parse(settings.database_url.get_secret_value())):
        return []
    return [f"AUTHSVC_DATABASE_URL: {each}" for each in await soundness.weaknesses(stores.database)]


async def _of_cache(cache: CacheStores) -> list[str] | None:
    """What is unsafe in the cache; None if it does not answer."""
    try:
        return [f"AUTHSVC_CACHE_URL: {each}" for each in await cache.weaknesses()]
    except StoreUnavailable:
        return None


def _of_certificate(settings: Settings, clock: Clock) -> list[str]:
    if settings.certificates is None:
        return []
    try:
        read_good(settings.certificates, clock)
    except CertificatesUnusable as error:
        return [f"AUTHSVC_TLS_CERT_FILE: {error}"]
    return []
