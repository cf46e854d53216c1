"""Owns how a worker and its owner talk: questions and answers, a JSON text a line, over a socket that only they have.

Either side may ask. When one side goes the other's line ends, so no worker outlives its owner unnoticed.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Self

_LONGEST_LINE = 16 * 1024 * 1024

Answer = Callable[[Any], Awaitable[Any]]


class LineBroken(Exception):
    """The other side is gone, or did not answer in time."""


class Line:
    """One end. `answers`: what is done for each question of the other side; what it returns goes back as JSON."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: Mapping[str, Answer]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answers = answers
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, end: socket.socket, answers: Mapping[str, Answer]) -> Self:
        """Take up one end of a pair of sockets. Nothing is heard before `run`."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_LONGEST_LINE)
        return cls(reader, writer, answers)

    async def run(self) -> None:
        """Hear the other side until it is gone."""
        try:
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    self._hear(json.loads(line))
        finally:
            self._writer.close()
            for waiting in self._asked.values():
                waiting.cancel()
            for task in self._answering:
                task.cancel()

    async def ask(self, question: str, given: Any = None, timeout_s: float = 2.0) -> Any:
        """Return the other side's answer. Raises LineBroken."""
        if self._writer.is_closing():
            raise LineBroken
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._write({"question": question, "number": number, "given": given})
        try:
            done, _ = await asyncio.wait((answer,), timeout=timeout_s)
        finally:
            del self._asked[number]
        if not done or answer.cancelled():
            raise LineBroken
        return answer.result()

    def _hear(self, message: Any) -> None:
        if "question" in message:
            task = asyncio.create_task(self._answer(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif answer := self._asked.get(message["number"]):
            answer.set_result(message["answer"])

    async def _answer(self, message: Any) -> None:
        answer = await self._answers[message["question"]](message["given"])
        self._write({"number": message["number"], "answer": answer})

    def _write(self, message: Any) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")
