"""Owns what follows a committed revocation: this instance's view, the cache, the other instances. Where a session token
is replaced while its session goes on, the cache alone.

Leaves committing to the stores.

The commit is what counts; nothing here can undo it. If the cache cannot be told, the whole cache is declared cold, by a
new epoch in the log: when in doubt, drop the cache.
"""

from collections.abc import Sequence
from contextlib import suppress

from authsvc.core.contracts import Hints, RevocationLog, Revoked, SessionCache, StoreUnavailable
from authsvc.core.tail import Tail
from authsvc.core.view import View


class Announcer:
    """Makes committed revocations count everywhere."""

    def __init__(
        self,
        view: View,
        cache: SessionCache,
        log: RevocationLog,
        hints: Hints,
        tail: Tail,
    ) -> None:
        self._view = view
        self._cache = cache
        self._log = log
        self._hints = hints
        self._tail = tail
        self._owes_epoch = False
        self._bumped_to = 0

    @property
    def epoch(self) -> int:
        """The latest epoch known here."""
        return max(self._bumped_to, self._tail.position.epoch)

    async def announce(self, revoked: Revoked) -> None:
        """Spread what was revoked. Here it counts before this returns; elsewhere within half a second at the latest.

        Nothing was live any more: somebody else has ended it, maybe this very moment, maybe an instance that died
        before it could tell anybody. That counts here, too, before this returns. Raises StoreUnavailable.
        """
        if not revoked.entries:
            await self._tail.poll()
            return
        for entry in revoked.entries:
            self._view.apply(entry)
        if revoked.session_hashes:
            await self._drop(revoked.session_hashes)
        await self.tell()

    async def forget(self, session_hashes: Sequence[bytes]) -> None:
        """Let nobody believe session tokens that were replaced while their session goes on."""
        if not await self._drop(session_hashes):
            await self.tell()

    async def tell(self) -> None:
        """Say, here and elsewhere, that the log has moved."""
        self._tail.hint()
        await self._hints.publish()

    async def _drop(self, session_hashes: Sequence[bytes]) -> bool:
        """Whether the cache could be told."""
        try:
            await self._cache.end(session_hashes)
        except StoreUnavailable:
            await self._go_cold()
            return False
        return True

    async def settle(self) -> bool:
        """Whether nothing is owed any more: each end that the cache could not be told of has moved the epoch."""
        if self._owes_epoch:
            await self._go_cold()
        return not self._owes_epoch

    async def _go_cold(self) -> None:
        # If SQL left right after the commit, the log entry itself still stops the session wherever the log is read;
        # and where it is not, an instance that owes an epoch is missed on the roll.
        self._owes_epoch = True
        with suppress(StoreUnavailable):
            self._bumped_to = await self._log.bump_epoch()
            self._cache.set_epoch(self._bumped_to)
            self._owes_epoch = False
