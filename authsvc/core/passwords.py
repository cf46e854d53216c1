"""Owns hashing and checking passwords, off the event loop and within bounds. Leaves the rules for new ones to
core.password_rules.

argon2id at OWASP's parameters. A fixed number of threads hash; a bounded queue waits; work whose caller would no longer
be there when it is done is refused at once, so that a flood of logins costs memory and time only up to the bound.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

import argon2

from authsvc.core.errors import Overloaded

MEMORY_KIB = 19_456
TIME_COST = 2
PARALLELISM = 1
# What one hash takes until it has been measured here.
_FIRST_GUESS_SECONDS = 0.05
_T = TypeVar("_T")


class PasswordHashing:
    """Hashes and checks passwords on `slots` threads, with at most `queue` calls waiting."""

    def __init__(self, slots: int, queue: int = 64) -> None:
        self._hasher = argon2.PasswordHasher(TIME_COST, MEMORY_KIB, PARALLELISM)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="argon2")
        self._slots = slots
        self._queue = queue
        self._under_way = 0
        self._seconds = _FIRST_GUESS_SECONDS
        self._nobody = self._hasher.hash("the password of nobody")

    async def hash(self, password: str, wait_ms: int) -> str:
        """Return the argon2 string. Raises Overloaded if that cannot be done within `wait_ms`."""
        return await self._run(lambda: self._hasher.hash(normalised(password)), wait_ms)

    async def verify(self, password_hash: str | None, password: str, wait_ms: int) -> bool:
        """Whether the password belongs to the hash. With None does the same work, and the answer is no."""
        matches = await self._run(lambda: self._matches(password_hash or self._nobody, password), wait_ms)
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    @property
    def under_way(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return self._under_way

    def close(self) -> None:
        """End the threads once their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, normalised(password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], _T], wait_ms: int) -> _T:
        expected_ms = int(1000 * self._seconds * (self._under_way // self._slots + 1))
        if self._under_way >= self._slots + self._queue or expected_ms > wait_ms:
            raise Overloaded(retry_ms=expected_ms)
        self._under_way += 1
        deadline = monotonic() + wait_ms / 1000
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._timed, work, deadline
            )
        finally:
            self._under_way -= 1

    def _timed(self, work: Callable[[], _T], deadline: float) -> _T:
        start = monotonic()
        if start > deadline:
            raise Overloaded
        result = work()
        self._seconds = 0.9 * self._seconds + 0.1 * (monotonic() - start)
        return result


def normalised(password: str) -> str:
    """The form that is hashed: Unicode NFC (NIST SP 800-63B-4 §3.1.1.2), so that keyboards do not matter."""
    return unicodedata.normalize("NFC", password)
