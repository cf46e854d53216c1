"""Owns hashing and checking passwords, off the event loop. Leaves who may hash next to core.hashing_slots, the stored
form to core.stored_hashes, the rules for new passwords to core.password_rules.

argon2id at OWASP's parameters or above. The threads that hash step back behind the event loop's: logins never slow
down what is cheap.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import argon2

from authsvc.core.hashing_slots import HashingSlots, Place
from authsvc.core.stored_hashes import StoredHashes, checked_import

PARALLELISM = 1
# How far hashing steps back behind everything else of this process, as `nice` has it.
_NICENESS = 10
_NOBODY = "nobody"
_QUEUE_EACH = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HashCost:
    """What a hash costs: OWASP's minimum."""

    memory_kib: int = 19_456
    time_cost: int = 2


class PasswordHashing:
    """Hashes and checks passwords on `slots` threads, with at most `queue` calls waiting: 8 a slot, unless told.

    A longer queue would not have more passwords checked, only later: with 8, whoever is let in waits for 9 hashes.
    """

    def __init__(
        self, stored: StoredHashes, slots: int, queue: int | None = None, cost: HashCost | None = None
    ) -> None:
        cost = cost or HashCost()
        self._hasher = argon2.PasswordHasher(cost.time_cost, cost.memory_kib, PARALLELISM)
        self._stored = stored
        self._slots = HashingSlots(slots, _QUEUE_EACH * slots if queue is None else queue)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="argon2", initializer=_step_back)
        self._nobody = stored.seal(self._hasher.hash("the password of nobody"), _NOBODY)

    @contextmanager
    def place(self, wait_ms: int, *, ahead: bool = False) -> Iterator[Place]:
        """Hold a place to hash in within `wait_ms`; `ahead` of those who are not. Raises Overloaded, at once."""
        with self._slots.place(wait_ms, ahead) as place:
            yield place

    async def hash_in(self, place: Place, password: str, user_id: str) -> str:
        """Return the hash to store for this user. Raises Overloaded."""
        made = await self._run(place, lambda: self._hasher.hash(normalised(password)))
        return self._stored.seal(made, user_id)

    async def verify_in(self, place: Place, stored: str | None, user_id: str, password: str) -> bool:
        """Whether the password belongs to the user's stored hash. With None does the same work, and the answer is no.

        Raises Overloaded, CannotUnseal.
        """
        known = self._stored.open(stored or self._nobody, user_id if stored else _NOBODY)
        return await self._run(place, lambda: self._matches(known, password)) and stored is not None

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
        return not is_current or self._hasher.check_needs_rehash(self._stored.open(stored, user_id))

    @property
    def under_way(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return self._slots.places_taken

    def close(self) -> None:
        """End the threads once their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, normalised(password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _run(self, place: Place, work: Callable[[], _T]) -> _T:
        async with self._slots.turn(place):
            # Shielded: a slot is free when its thread is, whether or not anybody still waits for the answer.
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._timed, work)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                with suppress(Exception):
                    await running
                raise

    def _timed(self, work: Callable[[], _T]) -> _T:
        start = monotonic()
        result = work()
        self._slots.seconds = 0.9 * self._slots.seconds + 0.1 * (monotonic() - start)
        return result


def normalised(password: str) -> str:
    """The form that is hashed: Unicode NFC (NIST SP 800-63B-4 §3.1.1.2), so that keyboards do not matter."""
    return unicodedata.normalize("NFC", password)


def _step_back() -> None:
    """Lower the priority of this thread alone, where the system can (Linux)."""
    with suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
