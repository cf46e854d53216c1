"""The cache in trouble: what is not known is said to be not known, at once, and trouble passes by itself."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import ENDED, CacheAnswer, StoreUnavailable
from authsvc.core.login_contract import ThrottleKey
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores, open_cache
from authsvc.stores.valkey.address import parse_cache_url
from authsvc.stores.valkey.connection import Connection
from authsvc.stores.valkey.dial import dial
from tests.parts.valkey import NOW, cached, hash_of, until

HASH = hash_of("a session")


async def answers(cache: CacheStores) -> bool:
    """Whether the cache answers again."""
    try:
        await cache.ping()
    except StoreUnavailable:
        return False
    return True


@contextmanager
def paused(server: EmbeddedValkey) -> Iterator[None]:
    """Stop the server's process for a while: connections stay open, nothing answers."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_a_stall_is_noticed_in_time(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """A server that stops answering costs a caller its timeout, and callers after that next to nothing."""
    with paused(own_valkey):
        started = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await own_cache.sessions.validate(HASH, NOW)
        waited = time.perf_counter() - started

        started = time.process_time()
        for _ in range(100):
            with pytest.raises(StoreUnavailable):
                await own_cache.sessions.validate(HASH, NOW)
        each = (time.process_time() - started) / 100

    assert 0.2 < waited < 0.5
    assert each < 0.001


async def test_a_stall_passes(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """Within two seconds of waking the same process answers again, and its records are still believed."""
    await own_cache.sessions.add(HASH, cached(), NOW)
    with paused(own_valkey):
        await asyncio.gather(own_cache.sessions.validate(HASH, NOW), return_exceptions=True)

    await until(lambda: answers(own_cache), within_s=2)

    assert isinstance(await own_cache.sessions.validate(HASH, NOW), CacheAnswer)


async def test_a_pause_of_ours_is_not_the_servers(own_cache: CacheStores) -> None:
    """After this process stood still for longer than a reply may take, replies that lie ready are still taken."""
    hashes = [hash_of(number) for number in range(256)]
    for session_hash in hashes:
        await own_cache.sessions.add(session_hash, cached(bytes(4096)), NOW)  # a reply takes several reads
    calls = [asyncio.ensure_future(own_cache.sessions.validate_many(hashes, NOW)) for _ in range(8)]
    await asyncio.sleep(0.01)  # the commands leave

    time.sleep(0.4)  # noqa: ASYNC251  that is the pause
    answers = await asyncio.gather(*calls)

    assert all(isinstance(answer, CacheAnswer) for each in answers for answer in each)


async def test_everything_refuses_while_the_server_is_gone(
    own_valkey: EmbeddedValkey, own_cache: CacheStores
) -> None:
    """Without a server every call says that nothing is known; a hint says nothing at all."""
    await own_valkey.kill()
    await asyncio.gather(own_cache.sessions.validate(HASH, NOW), return_exceptions=True)
    assert own_cache.throttle is not None

    calls = [
        own_cache.sessions.validate(HASH, NOW),
        own_cache.sessions.validate_many([HASH], NOW),
        own_cache.sessions.add(HASH, cached(), NOW),
        own_cache.sessions.end([HASH]),
        own_cache.throttle.hit([ThrottleKey("a", 1, MINUTE)], NOW),
        own_cache.throttle.succeed([ThrottleKey("a", 1, MINUTE)]),
        own_cache.ping(),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await own_cache.hints.publish()

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * len(calls)


async def test_a_server_that_is_down_at_the_start_is_found_later(own_valkey: EmbeddedValkey) -> None:
    """The cache can be opened before there is a server, and is used once there is one."""
    await own_valkey.kill()
    cache = await open_cache(own_valkey.url, epoch=1)
    with pytest.raises(StoreUnavailable):
        await cache.sessions.validate(HASH, NOW)

    await own_valkey.start()

    await until(lambda: answers(cache), within_s=2)
    await cache.close()


async def test_a_new_process_is_cold_even_with_the_old_data(tmp_path: Path) -> None:
    """A restart with everything restored from disk brings no session back: it is another process."""
    server = EmbeddedValkey(tmp_path, {"dbfilename": "dump.rdb"})
    await server.start()
    cache = await open_cache(server.url, epoch=1)
    await cache.sessions.add(HASH, cached(), NOW)
    async with redis.Redis.from_url(server.url) as inside:
        await inside.save()

    await server.kill()
    await server.start()

    await until(lambda: answers(cache), within_s=2)
    async with redis.Redis.from_url(server.url) as inside:
        assert await inside.dbsize() == 1
    assert await cache.sessions.validate(HASH, NOW) is None
    assert await cache.sessions.validate_many([HASH], NOW) == [None]
    await cache.close()
    await server.stop()


async def test_a_flush_of_the_scripts_passes(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """A server that lost our scripts is taught them again."""
    async with redis.Redis.from_url(own_valkey.url) as inside:
        await inside.script_flush()
    with pytest.raises(StoreUnavailable):
        await own_cache.sessions.validate(HASH, NOW)

    await until(lambda: answers(own_cache), within_s=1)

    assert await own_cache.sessions.validate(HASH, NOW) is None


async def test_a_replica_is_not_believed(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """A primary that is demoted under our connection is not asked any more, though the process is the same."""
    await own_cache.sessions.add(HASH, cached(), NOW)
    async with redis.Redis.from_url(own_valkey.url) as inside:
        await inside.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailable):
        await own_cache.sessions.validate(HASH, NOW)

    await asyncio.sleep(0.1)  # time to dial again, if it did
    assert not await answers(own_cache)


async def test_a_full_server_still_validates_and_ends(
    own_valkey: EmbeddedValkey, own_cache: CacheStores
) -> None:
    """On a full server new records are refused, but known ones are validated and ends are remembered."""
    await own_cache.sessions.add(HASH, cached(), NOW)
    async with redis.Redis.from_url(own_valkey.url) as inside:
        await inside.config_set("maxmemory", 1)

    with pytest.raises(StoreUnavailable):
        await own_cache.sessions.add(hash_of("new"), cached(), NOW)
    slid = await own_cache.sessions.validate(HASH, NOW + 10 * MINUTE)
    await own_cache.sessions.end([HASH])

    assert isinstance(slid, CacheAnswer)
    assert await own_cache.sessions.validate(HASH, NOW) is ENDED


async def test_cancelled_callers_never_mix_replies(cache: CacheStores) -> None:
    """Whoever is cancelled whenever: each answer is that of the hash it was asked for."""
    choose = random.Random(7)
    hashes = [hash_of(number) for number in range(200)]
    for number, session_hash in enumerate(hashes):
        await cache.sessions.add(session_hash, cached(str(number).encode()), NOW)
    counts = {"right": 0, "cancelled": 0}

    async def look(number: int) -> None:
        """Ask for one, or for one among several; the answer must be its own."""
        if number % 5:
            answer = await cache.sessions.validate(hashes[number], NOW)
        else:
            answer = (await cache.sessions.validate_many([hashes[0], hashes[number]], NOW))[1]
        assert isinstance(answer, CacheAnswer)
        assert answer.body == str(number).encode()

    async def caller() -> None:
        for _ in range(160):
            task = asyncio.create_task(look(choose.randrange(200)))
            if choose.random() < 0.3:
                for _ in range(choose.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            counts["cancelled" if isinstance(outcome, asyncio.CancelledError) else "right"] += 1
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)

    await asyncio.gather(*(caller() for _ in range(128)))

    assert counts["right"] > 10_000
    assert counts["cancelled"] > 1_000


@pytest.fixture
async def narrow(own_valkey: EmbeddedValkey) -> AsyncIterator[Connection]:
    """A connection with room for eight commands."""
    address = parse_cache_url(own_valkey.url).entry
    connection = await dial(address, timeout_s=0.25, max_pending=8)
    yield connection
    connection.drop("end of test")


async def test_what_is_under_way_is_bounded(own_valkey: EmbeddedValkey, narrow: Connection) -> None:
    """A stalled server cannot make us pile up commands without end."""
    with paused(own_valkey):
        waiting = [narrow.call("PING") for _ in range(8)]

        with pytest.raises(StoreUnavailable):
            narrow.call("PING")

        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)


async def test_errors_tell_no_keys(narrow: Connection) -> None:
    """An error reply may hold what was sent; only its code goes further."""
    with pytest.raises(StoreUnavailable) as raised:
        await narrow.call("NO-SUCH-COMMAND", "canary")

    assert "canary" not in str(raised.value)
    assert await narrow.call("PING") == b"PONG"


async def test_a_wrong_password_is_not_a_crash(
    own_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not let us in is one that is down; the log says so, without the password."""
    url = f"redis://:canary@127.0.0.1:{own_valkey.port}/0"

    cache = await open_cache(url, epoch=1)

    with pytest.raises(StoreUnavailable):
        await cache.ping()
    assert "WRONGPASS" in caplog.text
    assert "canary" not in caplog.text
    await cache.close()


async def test_closed_is_down(own_valkey: EmbeddedValkey) -> None:
    """After `close` every call says that nothing is known, and nothing dials any more."""
    cache = await open_cache(own_valkey.url, epoch=1)

    await cache.close()

    with pytest.raises(StoreUnavailable):
        await cache.sessions.validate(HASH, NOW)
