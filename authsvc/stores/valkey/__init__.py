"""The cache: sessions, login counters and hints in Valkey or Redis.

`cache` puts it together; `sessions`, `throttle` and `hints` implement the contracts on a `topology` (`primary`,
`cluster`), which holds a `link` to each server; a link keeps one `connection` up, made by `dial`.
"""

from authsvc.stores.valkey.address import parse_cache_url
from authsvc.stores.valkey.cache import NO_CACHE, CacheStores, open_cache

__all__ = ["NO_CACHE", "CacheStores", "open_cache", "parse_cache_url"]
