"""Owns which counters a login attempt is charged to, and counting alone. Leaves counting together to the stores.

Keys are by the name typed, whether or not such a user exists, so that being slowed down tells nothing; names are
hashed, so that a dump of the counters names nobody.
"""

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.contracts import LoginThrottle, StoreUnavailable, ThrottleKey

_WINDOW = 5 * MINUTE
_ACCOUNT_LIMIT = 10
_NETWORK_LIMIT = 10
_GLOBAL_LIMIT = 1000
_LOCAL_KEYS = 100_000


def throttle_keys(username_key: str, ip_address: str) -> tuple[ThrottleKey, ...]:
    """Return the counters of an attempt: the account's, the network's if it is known, and everybody's."""
    account = ThrottleKey(
        f"account:{_digest(username_key)}", _ACCOUNT_LIMIT, _WINDOW, forgotten_on_success=True
    )
    everybody = ThrottleKey("global", _GLOBAL_LIMIT, _WINDOW)
    network = network_of(ip_address)
    if network is None:
        return account, everybody
    return account, ThrottleKey(f"network:{network}", _NETWORK_LIMIT, _WINDOW), everybody


def network_of(ip_address: str) -> str | None:
    """The network that shares a fate: an IPv4 address or an IPv6 /64; None if the address is none."""
    try:
        address = ipaddress.ip_address(ip_address)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(getattr(address, "ipv4_mapped", None) or address)


class _Counter(NamedTuple):
    attempts: int
    started_at: int
    blocked_until: int


class LocalThrottle:
    """Counts in this process only. Holds at most 100,000 counters, dropping the ones longest untouched."""

    def __init__(self) -> None:
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        """Charge one attempt; see contracts.LoginThrottle."""
        wait = max(self._current(key, now).blocked_until for key in keys) - now
        if wait > 0:
            return wait
        for key in keys:
            self._counters[key.name] = self._charged(key, now)
            self._counters.move_to_end(key.name)
        while len(self._counters) > _LOCAL_KEYS:
            self._counters.popitem(last=False)
        return 0

    async def succeed(self, keys: Sequence[ThrottleKey]) -> None:
        """Settle an attempt that succeeded; see contracts.LoginThrottle."""
        for key in keys:
            counter = self._counters.pop(key.name, None)
            if counter is not None and not key.forgotten_on_success:
                count = max(0, counter.attempts - 1)
                blocked_until = counter.blocked_until if count >= key.limit else 0
                self._counters[key.name] = _Counter(count, counter.started_at, blocked_until)

    def _charged(self, key: ThrottleKey, now: int) -> _Counter:
        counter = self._current(key, now)
        count = counter.attempts + 1
        blocked_until = now + back_off(count, key) if count >= key.limit else counter.blocked_until
        return _Counter(count, counter.started_at, blocked_until)

    def _current(self, key: ThrottleKey, now: int) -> _Counter:
        counter = self._counters.get(key.name, _Counter(0, now, 0))
        forgotten = now >= max(counter.started_at, counter.blocked_until) + key.window_ms
        return _Counter(0, now, 0) if forgotten else counter


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

    async def succeed(self, keys: Sequence[ThrottleKey]) -> None:
        """Settle an attempt that succeeded, here and if possible everywhere."""
        await self._local.succeed(keys)
        with suppress(StoreUnavailable):
            await self._shared.succeed(keys)


def back_off(count: int, key: ThrottleKey) -> int:
    """How long to wait after `count` failures, at or past the limit: 1 s, doubling, up to the window."""
    return min(SECOND << min(count - key.limit, 20), key.window_ms)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
