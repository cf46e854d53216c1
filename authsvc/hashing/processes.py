"""Owns the processes that hash for a server: started with it, replaced when one dies, ended with it.

Apart from the server's own, so that hashing takes from the event loop only the CPU that it leaves. Threads of a lower
priority would at times hold the interpreter's lock while others kept them from the CPU, and everything would wait.
Leaves hashing to `child`, and who may next to core.hashing_slots.
"""

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from authsvc.core.errors import Overloaded
from authsvc.core.hashing_threads import HashCost
from authsvc.hashing import child

_GOODBYE_S = 2.0
_GONE = (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError)


class HashingFailed(Exception):
    """A hash could not be computed, for a reason that nobody expects."""


@dataclass(frozen=True, slots=True)
class _Child:
    """A process, and both ends of what is said to it."""

    process: asyncio.subprocess.Process
    asked: asyncio.StreamWriter
    told: asyncio.StreamReader

    async def ask(self, password_hash: bytes, password: bytes) -> tuple[int, str]:
        self.asked.write(child.REQUEST.pack(len(password_hash), len(password)) + password_hash + password)
        await self.asked.drain()
        return await self.hear()

    async def hear(self) -> tuple[int, str]:
        end, length = child.ANSWER.unpack(await self.told.readexactly(child.ANSWER.size))
        return end, (await self.told.readexactly(length)).decode()

    async def end(self) -> None:
        self.asked.close()
        try:
            await asyncio.wait_for(self.process.wait(), _GOODBYE_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class HashingProcesses:
    """A Hasher: `count` processes."""

    def __init__(self, count: int, cost: HashCost) -> None:
        self._count = count
        self._command = [sys.executable, "-I", "-S", child.__file__, *_libraries()]
        self._command += [str(cost.memory_kib), str(cost.time_cost)]
        self._idle: asyncio.Queue[_Child] = asyncio.Queue()
        self._all: set[_Child] = set()

    async def start(self) -> None:
        """Start them all."""
        for started in await asyncio.gather(*(self._start_one() for _ in range(self._count))):
            self._idle.put_nowait(started)

    async def hash(self, password: str) -> str:
        """Return the hash of a password. Raises Overloaded if the process ended meanwhile."""
        return (await self._ask("", password))[1]

    async def matches(self, password_hash: str, password: str) -> bool:
        """Whether the password belongs to the hash. Raises Overloaded."""
        return (await self._ask(password_hash, password))[0]

    async def close(self) -> None:
        """End them, once each has done what it is at."""
        await asyncio.gather(*(each.end() for each in self._all))
        self._all.clear()

    async def _ask(self, password_hash: str, password: str) -> tuple[bool, str]:
        asked = await self._idle.get()
        # Whoever asked may go away; what was asked is answered all the same, before the next question.
        return await asyncio.shield(asyncio.create_task(self._exchange(asked, password_hash, password)))

    async def _exchange(self, asked: _Child, password_hash: str, password: str) -> tuple[bool, str]:
        try:
            end, made = await asked.ask(password_hash.encode(), password.encode())
        except _GONE:
            self._all.discard(asked)
            asked = await self._start_one()
            raise Overloaded from None
        finally:
            self._idle.put_nowait(asked)
        if end == child.FAILED:
            raise HashingFailed
        return end == child.YES, made

    async def _start_one(self) -> _Child:
        pipe = asyncio.subprocess.PIPE
        # In a group of their own: signals from a terminal are for us. But in our session, or Linux may count them as
        # somebody else's, with a right to as much as we have (sched(7), autogroups).
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, env={}, process_group=0
        )
        if process.stdin is None or process.stdout is None:
            raise HashingFailed
        started = _Child(process, process.stdin, process.stdout)
        self._all.add(started)
        try:
            await started.hear()
        except _GONE:
            raise HashingFailed from None
        return started


def _libraries() -> list[str]:
    """Where argon2 and what it needs lie."""
    found = (find_spec(name) for name in ("argon2", "_argon2_cffi_bindings", "_cffi_backend", "cffi"))
    places = (Path(spec.origin) for spec in found if spec is not None and spec.origin is not None)
    return sorted({str(place.parent if place.suffix == ".so" else place.parent.parent) for place in places})
