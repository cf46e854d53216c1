"""Owns opening an instance: its stores and what watches them. Leaves its life to `authsvc.app.instance`."""

from dataclasses import replace
from typing import TYPE_CHECKING

from authsvc.app.instance import App, Development
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.hashing_threads import Hasher
from authsvc.core.ids import new_id
from authsvc.outside import Outside
from authsvc.settings import Settings
from authsvc.stores.sql import open_stores
from authsvc.stores.valkey import open_cache

if TYPE_CHECKING:
    from authsvc.app.tracing import Traces


async def open_app(
    settings: Settings,
    outside: Outside | None = None,
    development: Development | None = None,
    *,
    shares_port: bool = False,
    hasher: Hasher | None = None,
) -> App:
    """Return an instance over the stores that the settings name; they are not asked for anything but the log's epoch.

    `shares_port`: other processes may listen at its port, too. `hasher`: where passwords are hashed, in threads of this
    process unless it is given. Raises StoreUnavailable if SQL does not answer.
    """
    traces = _open_traces(settings)
    outside = outside or Outside()
    stores = open_stores(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool,
        spans=traces,
        instance=new_id(outside.clock(), outside.random_bytes),
    )
    try:
        position = await stores.log.position()
    except StoreUnavailable:
        await stores.close()
        raise
    cache = await open_cache(settings.cache_url.get_secret_value(), position.epoch)
    if traces is not None:
        cache = replace(cache, sessions=traces.sessions(cache.sessions))
    return App(settings, outside, stores, cache, development, shares_port, traces, hasher)


def _open_traces(settings: Settings) -> "Traces | None":
    if not settings.traces_endpoint:
        return None
    from authsvc.app.tracing import open_traces  # late: its libraries are an extra

    return open_traces(settings)
