"""Owns putting the cache together from its URL. Leaves what each part does to the part."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from authsvc.core.contracts import Hints, SessionCache
from authsvc.core.login_contract import LoginThrottle
from authsvc.core.roll import Roll
from authsvc.stores.valkey.address import CacheUrl, Kind, parse_cache_url
from authsvc.stores.valkey.cluster import Cluster
from authsvc.stores.valkey.hints import ValkeyHints
from authsvc.stores.valkey.none import NoHints, NoRoll, NoSessions
from authsvc.stores.valkey.primary import SentinelPrimary, StandalonePrimary
from authsvc.stores.valkey.roll import ValkeyRoll
from authsvc.stores.valkey.sessions import ValkeySessions
from authsvc.stores.valkey.soundness import weaknesses
from authsvc.stores.valkey.throttle import ValkeyThrottle
from authsvc.stores.valkey.topology import Topology

NO_CACHE = "none"
_FIRST_CONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class CacheStores:
    """All that lives in the cache. `throttle` is None where there is no cache to share counters in."""

    sessions: SessionCache
    throttle: LoginThrottle | None
    hints: Hints
    roll: Roll
    is_up: Callable[[], bool]
    """Say whether every server is connected; always, if there is none."""
    ping: Callable[[], Awaitable[None]]
    """Make one round trip to every server. Raises StoreUnavailable."""
    weaknesses: Callable[[], Awaitable[Sequence[str]]]
    """Return what is wrong with how the servers are set up, a sentence each. Raises StoreUnavailable."""
    close: Callable[[], Awaitable[None]]
    """Close all connections; calls after that raise StoreUnavailable."""


async def open_cache(url: str, epoch: int, timeout_ms: int = 250) -> CacheStores:
    """Connect to the cache at `url`, or to none at all if it is `none`.

    Waits a second at most for the first connection, and goes on without: then calls raise StoreUnavailable until there
    is one. A reply later than `timeout_ms` is none. Raises ValueError if the URL cannot be read.
    """
    if url == NO_CACHE:
        return CacheStores(NoSessions(), None, NoHints(), NoRoll(), _always, _nothing, _sound, _nothing)
    timeout_s = timeout_ms / 1000
    topology = _open_topology(parse_cache_url(url), timeout_s)
    await topology.wait_up(_FIRST_CONNECT_S)
    return CacheStores(
        sessions=ValkeySessions(topology, epoch),
        throttle=ValkeyThrottle(topology),
        hints=ValkeyHints(topology, timeout_s),
        roll=ValkeyRoll(topology),
        is_up=lambda: topology.is_up,
        ping=lambda: _ping(topology),
        weaknesses=lambda: weaknesses(topology),
        close=topology.close,
    )


def _open_topology(url: CacheUrl, timeout_s: float) -> Topology:
    if url.kind is Kind.SENTINEL:
        return SentinelPrimary(url.servers, url.service, url.entry, timeout_s)
    if url.kind is Kind.CLUSTER:
        return Cluster(url.servers, timeout_s)
    return StandalonePrimary(url.entry, timeout_s)


def _always() -> bool:
    return True


async def _ping(topology: Topology) -> None:
    await topology.ask("PING")


async def _sound() -> Sequence[str]:
    return ()


async def _nothing() -> None:
    pass
