"""The cache grown beyond one server, under load: a cluster of six that loses a primary and moves slots, and a primary
whose place its replica takes, as a Sentinel says."""

import asyncio
from binascii import crc_hqx
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from authsvc.core.contracts import CacheAnswer, StoreUnavailable
from authsvc.core.tokens import Kind, TokenMint
from tests.faults.asking import LATE, allowed
from tests.faults.calling import said
from tests.parts.service import Service, run_service
from tests.parts.valkey import until
from tests.parts.valkey_groups import SLOTS, sentinel_pair
from tests.parts.valkey_six import SixNodes, six_nodes

Cluster = tuple[Service, SixNodes]


@pytest.fixture
async def cluster(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """An instance with a cluster for a cache."""
    async with six_nodes(tmp_path) as nodes, run_service(sqlite_url, nodes.url) as service:
        yield service, nodes


@asynccontextmanager
async def load(service: Service, logins: list[Any]) -> AsyncIterator[Counter[str]]:
    """Validate sessions all the time; what was said, by how often."""
    said_so_far: Counter[str] = Counter()
    stop = asyncio.Event()

    async def work(number: int) -> None:
        while not stop.is_set():
            said_so_far[await said(service.validate(logins[number % len(logins)].session_token))] += 1
            number += 1
            await asyncio.sleep(0.002)

    workers = [asyncio.create_task(work(number)) for number in range(4)]
    yield said_so_far
    stop.set()
    await asyncio.gather(*workers)


async def all_cached(service: Service, logins: list[Any]) -> bool:
    """Whether the cache knows all of these sessions."""
    try:
        found = await service.app.cache.sessions.validate_many(hashes_of(service, logins), service.clock())
    except StoreUnavailable:
        return False
    return all(isinstance(answer, CacheAnswer) for answer in found)


def hashes_of(service: Service, logins: list[Any]) -> list[bytes]:
    """By what the cache knows these sessions."""
    mint = TokenMint(service.app.settings.secrets, bytes)
    return [mint.hash_of(Kind.SESSION, login.session_token) for login in logins]


async def several(service: Service) -> list[Any]:
    """Sessions that spread over all slots."""
    return [await service.login(f"user{number}") for number in range(12)]


async def test_a_primary_dies(cluster: Cluster) -> None:
    """A primary is killed under load: every session is still good, what ended stays ended, and its replica is used once
    it has taken over."""
    service, nodes = cluster
    logins = await several(service)
    ended = logins.pop()
    await service.revoke(token=ended.session_token)

    async with load(service, logins) as heard:
        await asyncio.sleep(0.3)
        await nodes.kill_primary(1)
        await until(lambda: all_cached(service, logins), within_s=allowed(5.0))

    assert set(heard) == {"OK"}
    assert heard["OK"] > 100
    assert await said(service.validate(ended.session_token)) == "SESSION_NOT_ACTIVE"


async def test_slots_move(cluster: Cluster) -> None:
    """The slots of all sessions move to another primary under load, with what is in them: nobody notices."""
    service, nodes = cluster
    logins = await several(service)

    async with load(service, logins) as heard:
        for session_hash in hashes_of(service, logins):
            await nodes.move_slot(crc_hqx(session_hash.hex().encode(), 0) % SLOTS)
        await until(lambda: all_cached(service, logins), within_s=allowed(5.0))

    assert set(heard) == {"OK"}
    assert heard["OK"] > 100


@LATE
async def test_a_sentinel_names_another(sqlite_url: str, tmp_path: Path) -> None:
    """The primary of a pair is killed under load: every session is still good, and the replica is used once the
    Sentinel names it."""
    async with sentinel_pair(tmp_path) as pair, run_service(sqlite_url, pair.url) as service:
        logins = await several(service)
        ended = logins.pop()
        await service.revoke(token=ended.session_token)

        async with load(service, logins) as heard:
            await asyncio.sleep(0.2)
            await pair.primary.kill()
            await until(lambda: all_cached(service, logins), within_s=allowed(10.0))

        assert set(heard) == {"OK"}
        assert await said(service.validate(ended.session_token)) == "SESSION_NOT_ACTIVE"
