"""Owns what hashes a password: argon2id at OWASP's parameters or above, and threads to do it in.

Threads share the interpreter's lock with the event loop, which a busy server does better without: `authsvc.hashing` has
processes. Leaves who may hash next to core.hashing_slots, what is hashed and what is stored to core.passwords.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import argon2

PARALLELISM = 1


@dataclass(frozen=True, slots=True)
class HashCost:
    """What a hash costs: OWASP's minimum."""

    memory_kib: int = 19_456
    time_cost: int = 2

    @property
    def hasher(self) -> argon2.PasswordHasher:
        """What makes and checks such hashes, right here."""
        return argon2.PasswordHasher(self.time_cost, self.memory_kib, PARALLELISM)


class Hasher(Protocol):
    """Makes and checks argon2id hashes somewhere else than on the event loop. May raise Overloaded."""

    async def start(self) -> None:
        """Begin, before anything is asked."""

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""

    async def matches(self, password_hash: str, password: str) -> bool:
        """Whether the password belongs to the hash."""

    async def close(self) -> None:
        """End once what is under way is done."""


class HashingThreads:
    """A Hasher: `count` threads."""

    def __init__(self, count: int, cost: HashCost) -> None:
        self._hasher = cost.hasher
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="argon2")

    async def start(self) -> None:
        """Nothing to begin; see Hasher."""

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        made: str = await self._run(self._hasher.hash, password)
        return made

    async def matches(self, password_hash: str, password: str) -> bool:
        """Whether the password belongs to the hash."""
        try:
            return bool(await self._run(self._hasher.verify, password_hash, password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def close(self) -> None:
        """End the threads once their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Any, *arguments: str) -> Any:
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The thread is free when it is done, whether or not anybody still waits for the answer.
            with suppress(Exception):
                await running
            raise
