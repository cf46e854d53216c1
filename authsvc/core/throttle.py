"""Owns counting login attempts in one process, and going on with that while nobody else can be asked.

Leaves which counters there are to core.login_counters, counting together to the stores.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from authsvc.core.clock import SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.login_contract import LoginThrottle, ThrottleKey

_LOCAL_KEYS = 100_000


class _Counter(NamedTuple):
    attempts: int
    started_at: int
    blocked_until: int


class LocalThrottle:
    """Counts in this process only. Holds at most 100,000 counters, dropping the ones longest untouched."""

    def __init__(self) -> None:
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        """Charge one attempt; see login_contract.LoginThrottle."""
        wait = max(self._current(key, now).blocked_until for key in keys) - now
        if wait > 0:
            return wait
        for key in keys:
            self._counters[key.name] = self._charged(key, now)
            self._counters.move_to_end(key.name)
        while len(self._counters) > _LOCAL_KEYS:
            self._counters.popitem(last=False)
        return 0

    async def succeed(self, keys: Sequence[ThrottleKey]) -> int:
        """Settle an attempt that succeeded; see login_contract.LoginThrottle."""
        forgotten = [self._counters.pop(key.name, None) for key in keys if key.forgotten_on_success]
        mistakes = max((counter.attempts for counter in forgotten if counter), default=1)
        for key in keys:
            counter = self._counters.get(key.name)
            if counter is not None:
                count = max(0, counter.attempts - (mistakes if key.mistakes_are_forgiven else 1))
                blocked_until = counter.blocked_until if count >= key.limit else 0
                self._counters[key.name] = _Counter(count, counter.started_at, blocked_until)
        return mistakes

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
        """Charge one attempt; see login_contract.LoginThrottle."""
        try:
            return await self._shared.hit(keys, now)
        except StoreUnavailable:
            return await self._local.hit(keys, now)

    async def succeed(self, keys: Sequence[ThrottleKey]) -> int:
        """Settle an attempt that succeeded, here and if possible everywhere."""
        here = await self._local.succeed(keys)
        try:
            return await self._shared.succeed(keys)
        except StoreUnavailable:
            return here


def back_off(count: int, key: ThrottleKey) -> int:
    """How long to wait after `count` failures, at or past the limit: 1 s, doubling, up to the longest wait."""
    return min(SECOND << min(count - key.limit, 20), key.longest_ms)
