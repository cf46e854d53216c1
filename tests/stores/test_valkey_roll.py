"""The roll that instances sign in the cache."""

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores


async def test_signatures_are_seen(cache: CacheStores) -> None:
    """Who signs sees who has signed lately, with their epochs and how long ago."""
    await cache.roll.sign("one", 1)

    found = await cache.roll.sign("other", 2)

    assert {name: signature.epoch for name, signature in found.items()} == {"one": 1, "other": 2}
    assert all(0 <= signature.age_ms < 5_000 for signature in found.values())


async def test_nobody_signs_unreached(own_valkey: EmbeddedValkey, own_cache: CacheStores) -> None:
    """Who does not reach the cache does not sign."""
    await own_valkey.kill()

    with pytest.raises(StoreUnavailable):
        await own_cache.roll.sign("one", 1)
