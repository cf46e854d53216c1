"""More than one server: a cluster of three primaries, and a pair that fails over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import ENDED, CacheAnswer, StoreUnavailable
from authsvc.core.login_contract import ThrottleKey
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores, open_cache
from tests.parts.valkey import NOW, cached, hash_of, until
from tests.parts.valkey_groups import (
    SLOTS,
    ask,
    cluster_is_whole,
    move_slot,
    name_primary,
    sentinel_pair,
    start_cluster,
    stop_cluster,
)

HASHES = [hash_of(number) for number in range(300)]


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EmbeddedValkey]]:
    """Three primaries that share the slots. Leave them as they were."""
    servers = asyncio.run(start_cluster(tmp_path_factory.mktemp("cluster")))
    yield servers
    asyncio.run(stop_cluster(servers))


@pytest.fixture
async def cluster(shared_cluster: list[EmbeddedValkey]) -> list[EmbeddedValkey]:
    """The cluster, empty."""
    for server in shared_cluster:
        async with redis.Redis.from_url(server.url) as inside:
            await inside.flushall()
    return shared_cluster


@pytest.fixture
async def cache(cluster: list[EmbeddedValkey]) -> AsyncIterator[CacheStores]:
    """The cache on the cluster, found through one of its nodes."""
    stores = await open_cache(cluster[0].url.replace("redis://", "redis+cluster://"), epoch=1)
    yield stores
    await stores.close()


async def answers(cache: CacheStores) -> bool:
    """Whether every server answers."""
    try:
        await cache.ping()
    except StoreUnavailable:
        return False
    return True


async def test_sessions_live_all_over_a_cluster(cache: CacheStores, cluster: list[EmbeddedValkey]) -> None:
    """Sessions spread over the primaries; batches are answered in order, ends hold, another epoch is cold."""
    for number, session_hash in enumerate(HASHES):
        await cache.sessions.add(session_hash, cached(str(number).encode()), NOW)
    await cache.sessions.end(HASHES[::3])

    found = await cache.sessions.validate_many([*HASHES, hash_of("unknown")], NOW + 10 * MINUTE)

    assert found[-1] is None
    for number, answer in enumerate(found[:-1]):
        assert answer is ENDED if number % 3 == 0 else isinstance(answer, CacheAnswer)
        assert not isinstance(answer, CacheAnswer) or answer.body == str(number).encode()
    for server in cluster:
        async with redis.Redis.from_url(server.url) as inside:
            assert await inside.dbsize() > 50
    cache.sessions.set_epoch(2)
    assert set(await cache.sessions.validate_many(HASHES, NOW)) == {None}


async def test_counters_and_hints_work_on_a_cluster(cache: CacheStores) -> None:
    """All counters of an attempt are charged together, and hints reach every listener."""
    assert cache.throttle is not None
    keys = [ThrottleKey(name, 2, MINUTE) for name in ("account", "network", "everyone")]
    listener = cache.hints.listen()
    await anext(listener)

    waits = [await cache.throttle.hit(keys, NOW) for _ in range(3)]
    await cache.throttle.succeed(keys)
    await cache.hints.publish()

    assert waits == [0, 0, 1000]
    assert await cache.throttle.hit(keys, NOW) == 0
    async with asyncio.timeout(1):
        await anext(listener)


async def test_a_lost_node_takes_only_its_share(cache: CacheStores, cluster: list[EmbeddedValkey]) -> None:
    """While one primary is down, what it held is not known, an end on it is refused, and the others go on."""
    for session_hash in HASHES:
        await cache.sessions.add(session_hash, cached(), NOW)
    await cluster[2].kill()
    await asyncio.gather(*(cache.sessions.validate(each, NOW) for each in HASHES), return_exceptions=True)

    found = await cache.sessions.validate_many(HASHES, NOW)

    known = sum(isinstance(answer, CacheAnswer) for answer in found)
    assert 150 < known < 250
    assert found.count(None) == len(HASHES) - known
    with pytest.raises(StoreUnavailable):
        await cache.sessions.end(HASHES)
    await cluster[2].start()
    await until(lambda: cluster_is_whole(cluster), within_s=20)


async def test_without_any_node_nothing_is_known(cache: CacheStores) -> None:
    """Only when no server at all answers is a batch as a whole refused."""
    await cache.close()

    with pytest.raises(StoreUnavailable):
        await cache.sessions.validate_many(HASHES, NOW)


async def test_a_moved_slot_is_found_again(cache: CacheStores, cluster: list[EmbeddedValkey]) -> None:
    """When a slot moves, the first call says that nothing is known, and then the new primary is asked."""
    async with redis.Redis.from_url(cluster[0].url) as first:
        slot = await ask(first, "CLUSTER KEYSLOT", HASHES[0].hex())
    await move_slot(cluster, slot, to=(slot * 3 // SLOTS + 1) % 3)

    with pytest.raises(StoreUnavailable):
        await cache.sessions.validate(HASHES[0], NOW)

    async def known() -> bool:
        with contextlib.suppress(StoreUnavailable):
            await cache.sessions.add(HASHES[0], cached(), NOW)
            return isinstance(await cache.sessions.validate(HASHES[0], NOW), CacheAnswer)
        return False

    await until(known, within_s=3)


async def test_a_failover_is_cold(tmp_path: Path) -> None:
    """After a failover the replica's copies, however complete, are not believed; new records are."""
    async with sentinel_pair(tmp_path) as pair:
        cache = await open_cache(pair.url, epoch=1)
        await cache.sessions.add(HASHES[0], cached(), NOW)
        async with redis.Redis.from_url(pair.primary.url) as primary:
            assert await primary.wait(1, 1000) == 1

        await pair.primary.kill()
        with pytest.raises(StoreUnavailable):
            await cache.sessions.validate(HASHES[0], NOW)
        await until(lambda: answers(cache), within_s=15)

        async with redis.Redis.from_url(pair.replica.url) as replica:
            assert await replica.dbsize() == 1
        assert await cache.sessions.validate(HASHES[0], NOW) is None
        await cache.sessions.add(HASHES[0], cached(), NOW)
        assert isinstance(await cache.sessions.validate(HASHES[0], NOW), CacheAnswer)
        await cache.close()


async def test_a_primary_that_is_not_named_any_more_is_left(tmp_path: Path) -> None:
    """When the Sentinels name another primary while the old one still answers, we go to the new one."""
    async with sentinel_pair(tmp_path) as pair:
        cache = await open_cache(pair.url, epoch=1)
        await cache.sessions.add(HASHES[0], cached(), NOW)

        async with redis.Redis.from_url(pair.replica.url) as replica:
            await replica.replicaof("NO", "ONE")
        await name_primary(pair, pair.replica)

        async def cold() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return await cache.sessions.validate(HASHES[0], NOW) is None
            return False

        await until(cold, within_s=3)
        async with redis.Redis.from_url(pair.primary.url) as old:
            assert (await old.info("replication"))["role"] == "master"
        await cache.close()
