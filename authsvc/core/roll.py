"""Owns the roll call: whether the cache may be believed by an instance that does not hear from SQL.

Such an instance does not know what others revoke. But whoever revokes tells the cache before acknowledging it; so what
the cache holds as live is live, as long as nobody can be revoking without the cache. Hence each second every instance
signs a roll in the cache, with the epoch that it goes by, and asks SQL which instances there are. While SQL is silent
the roll is complete if each instance that SQL last named has just signed it, and none goes by a later epoch. Whoever
was cut off from the cache, was killed before telling it, or still owes it an end, is missing there.

Leaves where the roll and the names are kept to the stores.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from authsvc.core.announce import Announcer
from authsvc.core.clock import SECOND, Clock
from authsvc.core.contracts import StoreUnavailable

SIGN_EVERY_SECONDS = 1.0
SIGNED_FOR_MS = 3 * SECOND


class Signature(NamedTuple):
    """Of an instance: the epoch it goes by, and how long ago it signed (milliseconds)."""

    epoch: int
    age_ms: int


class Roll(Protocol):
    """The roll, in the cache."""

    async def sign(self, name: str, epoch: int) -> Mapping[str, Signature]:
        """Sign, and return who has signed lately, oneself included. MUST not succeed unless every server of the cache
        is reached. Raises StoreUnavailable."""


class Peers(Protocol):
    """The instances that SQL knows of."""

    async def list(self) -> frozenset[str]:
        """Return the names of all instances connected now. Raises StoreUnavailable."""


class RollCall:
    """Signs the roll, and says whether it is complete."""

    def __init__(
        self,
        name: str,
        roll: Roll,
        peers: Peers,
        announcer: Announcer,
        monotonic: Clock,
    ) -> None:
        self._name = name
        self._roll = roll
        self._peers = peers
        self._announcer = announcer
        self._monotonic = monotonic
        self._expected: frozenset[str] = frozenset()
        self._signed: Mapping[str, Signature] = {}
        self._signed_at = 0

    def is_complete(self) -> bool:
        """Whether all who are there could tell the cache what they revoke, a moment ago."""
        if self._name not in self._signed or any(
            each.epoch > self._announcer.epoch for each in self._signed.values()
        ):
            return False
        since = self._monotonic() - self._signed_at
        found = (self._signed.get(name) for name in (self._name, *self._expected))
        return all(each is not None and each.age_ms + since <= SIGNED_FOR_MS for each in found)

    async def call(self) -> None:
        """Ask SQL who is there, and sign; each at its own pace, as either may be silent."""
        await asyncio.gather(self._ask(), self._sign())

    async def run(self) -> None:
        """Call each second until cancelled."""
        await asyncio.gather(self._again(self._ask), self._again(self._sign))

    async def _again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await step()
            await asyncio.sleep(SIGN_EVERY_SECONDS)

    async def _ask(self) -> None:
        with suppress(StoreUnavailable):
            self._expected = await self._peers.list() - {self._name}

    async def _sign(self) -> None:
        if not await self._announcer.settle():
            return
        began = self._monotonic()
        with suppress(StoreUnavailable):
            self._signed = await self._roll.sign(self._name, self._announcer.epoch)
            self._signed_at = began
