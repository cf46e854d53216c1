"""Owns what is hashed and stored of a password, and checking one.

Leaves hashing to a Hasher (core.hashing_threads), who may hash next to core.hashing_slots, the stored form to
core.stored_hashes, the rules for new passwords to core.password_rules.
"""

import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from authsvc.core.hashing_slots import HashingSlots, Place
from authsvc.core.hashing_threads import HashCost, Hasher, HashingThreads
from authsvc.core.stored_hashes import StoredHashes, checked_import

_NOBODY = "nobody"
_QUEUE_EACH = 8
_T = TypeVar("_T")


class PasswordHashing:
    """Hashes and checks passwords, `slots` at once, with at most `queue` calls waiting: 8 a slot, unless told.

    A longer queue would not have more passwords checked, only later: with 8, whoever is let in waits for 9 hashes.
    """

    def __init__(
        self,
        stored: StoredHashes,
        slots: int,
        queue: int | None = None,
        cost: HashCost | None = None,
        hasher: Hasher | None = None,
    ) -> None:
        """`hasher` hashes at that cost, `slots` at once; threads do unless it is given."""
        cost = cost or HashCost()
        self._hasher = hasher or HashingThreads(slots, cost)
        self._judge = cost.hasher
        self._stored = stored
        self._slots = HashingSlots(slots, _QUEUE_EACH * slots if queue is None else queue)
        self._nobody = stored.seal(self._judge.hash("the password of nobody"), _NOBODY)

    async def start(self) -> None:
        """Begin, before anything is asked."""
        await self._hasher.start()

    @contextmanager
    def place(self, wait_ms: int, *, ahead: bool = False) -> Iterator[Place]:
        """Hold a place to hash in within `wait_ms`; `ahead` of those who are not. Raises Overloaded, at once."""
        with self._slots.place(wait_ms, ahead) as place:
            yield place

    async def hash_in(self, place: Place, password: str, user_id: str) -> str:
        """Return the hash to store for this user. Raises Overloaded."""
        made = await self._timed(place, lambda: self._hasher.hash(normalised(password)))
        return self._stored.seal(made, user_id)

    async def verify_in(self, place: Place, stored: str | None, user_id: str, password: str) -> bool:
        """Whether the password belongs to the user's stored hash. With None does the same work, and the answer is no.

        Raises Overloaded, CannotUnseal.
        """
        known = self._stored.open(stored or self._nobody, user_id if stored else _NOBODY)
        matches = await self._timed(place, lambda: self._hasher.matches(known, normalised(password)))
        return matches and stored is not None

    async def hash(self, password: str, user_id: str, wait_ms: int) -> str:
        """Return the hash to store for this user. Raises Overloaded if that cannot be done within `wait_ms`."""
        with self.place(wait_ms) as place:
            return await self.hash_in(place, password, user_id)

    async def verify(self, stored: str | None, user_id: str, password: str, wait_ms: int) -> bool:
        """Whether the password belongs to the user's stored hash; see `verify_in`."""
        with self.place(wait_ms, ahead=True) as place:
            return await self.verify_in(place, stored, user_id, password)

    def take_over(self, password_hash: str, user_id: str) -> str:
        """Return a hash from elsewhere as it is stored for this user. Raises InvalidRequest."""
        return self._stored.seal(checked_import(password_hash), user_id)

    def needs_rehash(self, stored: str, user_id: str) -> bool:
        """Whether the hash was made with other parameters than today's, or is sealed under another secret."""
        is_current = self._stored.is_current(stored)
        return not is_current or self._judge.check_needs_rehash(self._stored.open(stored, user_id))

    @property
    def under_way(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return self._slots.places_taken

    async def close(self) -> None:
        """End once what is under way is done."""
        await self._hasher.close()

    async def _timed(self, place: Place, work: Callable[[], Awaitable[_T]]) -> _T:
        async with self._slots.turn(place):
            begun = monotonic()
            result = await work()
            self._slots.seconds = 0.9 * self._slots.seconds + 0.1 * (monotonic() - begun)
            return result


def normalised(password: str) -> str:
    """The form that is hashed: Unicode NFC (NIST SP 800-63B-4 §3.1.1.2), so that keyboards do not matter."""
    return unicodedata.normalize("NFC", password)
