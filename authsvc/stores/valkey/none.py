"""Owns the cache of a deployment without one (`AUTHSVC_CACHE_URL=none`): it knows nothing, and SQL answers all."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from authsvc.core.contracts import CachedSession
from authsvc.core.roll import Signature


class NoSessions:
    """A SessionCache that never knows anything."""

    async def validate(self, session_hash: bytes, now: int) -> None:
        return None

    async def validate_many(self, session_hashes: Sequence[bytes], now: int) -> Sequence[None]:
        return [None] * len(session_hashes)

    async def add(self, session_hash: bytes, cached: CachedSession, now: int) -> None:
        pass

    async def end(self, session_hashes: Sequence[bytes]) -> None:
        pass

    def set_epoch(self, epoch: int) -> None:
        pass


class NoHints:
    """Hints that never come."""

    async def publish(self) -> None:
        pass

    async def listen(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class NoRoll:
    """A roll on which nobody is: there is no cache to believe."""

    async def sign(self, name: str, epoch: int) -> Mapping[str, Signature]:
        return {}
