"""Real Valkey servers for tests, from the wheel. One per worker, emptied for each test; others to be mistreated.

Registered in `tests/conftest.py`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from authsvc.core.clock import HOUR, MINUTE
from authsvc.core.contracts import CachedSession, StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores, open_cache

NOW = 1_790_000_000_000
IDLE = 30 * MINUTE
ABSOLUTE = 12 * HOUR


def hash_of(name: object) -> bytes:
    """A session hash that is always the same for a name."""
    return hashlib.sha256(str(name).encode()).digest()


def cached(body: bytes = b"a session", idle_ms: int = IDLE, absolute_ms: int = ABSOLUTE) -> CachedSession:
    """A session as cached at NOW."""
    return CachedSession(
        body=body,
        idle_expires_at=NOW + min(idle_ms, absolute_ms),
        idle_ms=idle_ms,
        expires_at=NOW + absolute_ms,
        flushed_at=NOW,
    )


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Wait until the condition holds; fail the test if it does not in time."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One server for all tests of this worker. Use `valkey`, which empties it."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
def valkey(shared_valkey: EmbeddedValkey) -> EmbeddedValkey:
    """An empty server. Leave it running."""
    with redis.Redis.from_url(shared_valkey.url) as client:
        client.flushall()
        client.config_resetstat()
    return shared_valkey


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A server of this test's own, to be stopped, killed and started again."""
    server = EmbeddedValkey(tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


async def _answers(stores: CacheStores) -> bool:
    """Whether there is a connection; on a busy machine the first may take longer than `open_cache` waits."""
    try:
        await stores.ping()
    except StoreUnavailable:
        return False
    return True


@pytest.fixture
async def cache(valkey: EmbeddedValkey) -> AsyncIterator[CacheStores]:
    """The cache on `valkey`, at epoch 1."""
    stores = await open_cache(valkey.url, epoch=1)
    await until(lambda: _answers(stores), within_s=20)
    yield stores
    await stores.close()


@pytest.fixture
async def own_cache(own_valkey: EmbeddedValkey) -> AsyncIterator[CacheStores]:
    """The cache on `own_valkey`, at epoch 1."""
    stores = await open_cache(own_valkey.url, epoch=1)
    await until(lambda: _answers(stores), within_s=20)
    yield stores
    await stores.close()


@pytest.fixture
async def inside(valkey: EmbeddedValkey) -> AsyncIterator["redis.asyncio.Redis"]:
    """A plain client of `valkey`, to see what is really there."""
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        yield client
