"""Hints: heard by all, and never in anybody's way."""

import asyncio
import time

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores, open_cache


async def test_a_hint_is_heard_by_all(cache: CacheStores, valkey: EmbeddedValkey) -> None:
    """Every instance that listens hears a hint, also the one that gave it."""
    other = await open_cache(valkey.url, epoch=1)
    listeners = [cache.hints.listen(), other.hints.listen()]
    for listener in listeners:
        await anext(listener)  # the first tells that it listens

    await cache.hints.publish()

    async with asyncio.timeout(1):
        await asyncio.gather(*(anext(listener) for listener in listeners))
    await other.close()


async def test_listening_goes_on_after_a_restart(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """A listener finds the server again by itself, and is told to look, for it may have missed something."""
    listener = own_cache.hints.listen()
    await anext(listener)

    await own_valkey.kill()
    await own_valkey.start()

    async with asyncio.timeout(3):
        await anext(listener)


async def test_a_quiet_server_is_listened_to_in_peace(cache: CacheStores) -> None:
    """Silence is not a hint, however long it lasts, and does not end the listening."""
    listener = cache.hints.listen()
    await anext(listener)
    waiting = asyncio.ensure_future(anext(listener))

    done, _ = await asyncio.wait([waiting], timeout=2.5)  # longer than the pause before a PING
    await cache.hints.publish()

    assert not done
    async with asyncio.timeout(1):
        await waiting


async def test_publishing_never_raises_nor_blocks(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """Without a server a hint is lost, at once and in silence."""
    await own_valkey.kill()
    await own_cache.hints.publish()
    started = time.perf_counter()

    await own_cache.hints.publish()

    assert time.perf_counter() - started < 0.3


async def test_no_cache_gives_no_hints() -> None:
    """A deployment without a cache publishes to nobody and hears nothing."""
    cache = await open_cache("none", epoch=1)
    await cache.hints.publish()
    waiting = asyncio.ensure_future(anext(cache.hints.listen()))

    done, _ = await asyncio.wait([waiting], timeout=0.05)

    assert not done
    waiting.cancel()
