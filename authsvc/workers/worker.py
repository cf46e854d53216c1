"""Owns one worker as its owner sees it: a process, the line to it, what it has said. Leaves when to start and to end it
to `supervisor`.
"""

import asyncio
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from socket import socket
from typing import Any, Protocol

from authsvc.background import end_tasks
from authsvc.workers.line import Line, LineBroken
from authsvc.workers.summing import Told

_LAST_WORDS_S = 1.0
_METRICS_S = 1.0


class Owner(Protocol):
    """What a worker may ask of its owner."""

    def served(self) -> None:
        """A worker serves."""

    def counted(self, worker: str, metrics: Told) -> None:
        """A worker says how far it has counted."""

    async def page(self) -> bytes:
        """Return one page of metrics for all workers."""


class Worker:
    """One process, from its start to its end."""

    def __init__(self, name: str, process: SpawnProcess, end: socket, owner: Owner) -> None:
        self.name = name
        self.serves = False
        self.refusal: tuple[str, int] | None = None
        """Why it will not start, and with which exit status."""
        self._process = process
        self._end = end
        self._owner = owner
        self._line: Line | None = None

    async def run(self) -> int:
        """Talk with it until it has ended; return its exit status, negative for a signal."""
        answers = {
            "serving": self._hear_serving,
            "refused": self._hear_refused,
            "counted": self._hear_counted,
            "page": self._hear_page,
        }
        self._line = await Line.open(self._end, answers)
        talking = asyncio.create_task(self._line.run())
        try:
            await _ended(self._process)
            await asyncio.wait((talking,), timeout=_LAST_WORDS_S)
        finally:
            await end_tasks([talking])
        return self._process.exitcode or 0

    async def count(self) -> None:
        """Ask how far it has counted. Without an answer it stands as it did."""
        if self._line is not None:
            with suppress(LineBroken):
                self._owner.counted(self.name, await self._line.ask("count", timeout_s=_METRICS_S))

    def terminate(self) -> None:
        """Ask it to finish what it is at, and to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    async def _hear_serving(self, _: Any) -> None:
        self.serves = True
        self._owner.served()

    async def _hear_refused(self, given: Any) -> None:
        self.refusal = (str(given["sentence"]), int(given["status"]))

    async def _hear_counted(self, given: Any) -> None:
        self._owner.counted(self.name, given)

    async def _hear_page(self, _: Any) -> str:
        return (await self._owner.page()).decode()


async def _ended(process: SpawnProcess) -> None:
    """Return when the process has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
