"""Owns which counters a login attempt is charged to, and counting alone. Leaves counting together to the stores.

Keys are by the name typed, whether or not such a user exists, so that being slowed down tells nothing; names are
hashed, so that a dump of the counters names nobody.
"""

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.contracts import LoginThrottle, StoreUnavailable, ThrottleKey

_WINDOW = 5 * MINUTE
_ACCOUNT_LIMIT = 10
_NETWORK_LIMIT = 10
_GLOBAL_LIMIT = 1000
_LOCAL_KEYS = 100_000


def throttle_keys(username_key: str, ip_address: str) -> tuple[ThrottleKey, ...]:
    """Return the counters of an attempt, those to clear on success first (see `account_keys`)."""
    account, network = _digest(username_key), network_of(ip_address)
    return (
        ThrottleKey(f"account-network:{account}:{network}", _NETWORK_LIMIT, _WINDOW),
        ThrottleKey(f"account:{account}", _ACCOUNT_LIMIT, _WINDOW),
        ThrottleKey("global", _GLOBAL_LIMIT, _WINDOW),
    )


def account_keys(keys: Sequence[ThrottleKey]) -> Sequence[ThrottleKey]:
    """The counters that a success forgets: those of the account, not the global one."""
    return keys[:2]


def network_of(ip_address: str) -> str:
    """The network that shares a fate: an IPv4 address, an IPv6 /64, or `unknown`."""
    try:
        address = ipaddress.ip_address(ip_address)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(getattr(address, "ipv4_mapped", None) or address)


class LocalThrottle:
    """Counts in this process only. Holds at most 100,000 counters, dropping the ones longest untouched."""

    def __init__(self) -> None:
        self._counters: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        """Charge one attempt; see contracts.LoginThrottle."""
        wait = max(self._blocked_until(key, now) for key in keys) - now
        if wait > 0:
            return wait
        for key in keys:
            self._charge(key, now)
        return 0

    async def clear(self, keys: Sequence[ThrottleKey]) -> None:
        """Forget these counters."""
        for key in keys:
            self._counters.pop(key.name, None)

    def _blocked_until(self, key: ThrottleKey, now: int) -> int:
        _, blocked_until, ends_at = self._counters.get(key.name, (0, 0, 0))
        return blocked_until if now < ends_at else 0

    def _charge(self, key: ThrottleKey, now: int) -> None:
        count, _, ends_at = self._counters.get(key.name, (0, 0, 0))
        count = count + 1 if now < ends_at else 1
        blocked_until = now + back_off(count, key) if count >= key.limit else 0
        self._counters[key.name] = (count, blocked_until, now + key.window_ms)
        self._counters.move_to_end(key.name)
        if len(self._counters) > _LOCAL_KEYS:
            self._counters.popitem(last=False)


class FallbackThrottle:
    """Counts together with the other instances, and alone while that cannot be done. Never switches off."""

    def __init__(self, shared: LoginThrottle) -> None:
        self._shared = shared
        self._local = LocalThrottle()

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        """Charge one attempt; see contracts.LoginThrottle."""
        try:
            return await self._shared.hit(keys, now)
        except StoreUnavailable:
            return await self._local.hit(keys, now)

    async def clear(self, keys: Sequence[ThrottleKey]) -> None:
        """Forget these counters, here and if possible everywhere."""
        await self._local.clear(keys)
        with suppress(StoreUnavailable):
            await self._shared.clear(keys)


def back_off(count: int, key: ThrottleKey) -> int:
    """How long to wait after `count` failures, at or past the limit: 1 s, doubling, up to the window."""
    return min(SECOND << min(count - key.limit, 20), key.window_ms)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
