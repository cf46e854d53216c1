"""Owns keeping connections, the one used last on top. Leaves how they are made to the database's file.

SQLAlchemy's pool does the same and more; behind asyncio each borrowing there switches greenlets twice, which made up
70 of the 420 µs of CPU that a refresh took on our side.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from authsvc.core.clock import SECOND


class Stack:
    """Keeps at most `size` connections. Whoever finds none free waits `wait_ms` at most, first come first served."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        close: Callable[[Any], Awaitable[None]],
        is_closed: Callable[[Any], bool],
        size: int,
        wait_ms: int,
    ) -> None:
        self._connect = connect
        self._close = close
        self._is_closed = is_closed
        self._size = size
        self._lent = 0
        self._free: list[Any] = []
        self._queue = _Queue(wait_ms / SECOND)
        self._ended = False

    async def take(self) -> Any:
        """Return a connection that nobody else has. Raises TimeoutError, or what connecting raises."""
        if self._ended:
            raise ConnectionError("the pool is closed")
        if self._lent < self._size:
            self._lent += 1
        else:
            await self._queue.wait(self._free_place)  # whoever goes hands its place on, so none is counted
        try:
            return self._last_open() or await self._connect()
        except BaseException:
            self._free_place()
            raise

    def give_back(self, connection: Any) -> None:
        """Keep it for the next one who asks. One that the server has closed meanwhile is found out then."""
        self._free.append(connection)
        self._free_place()

    def forget(self, connection: Any) -> None:
        """Free its place."""
        self._free_place()

    async def close(self) -> None:
        """Close those that nobody has, and lend no more."""
        self._ended = True
        while self._free:
            await self._close(self._free.pop())

    def _free_place(self) -> None:
        if not self._queue.call_next():
            self._lent -= 1

    def _last_open(self) -> Any:
        while self._free:
            connection = self._free.pop()
            if not self._is_closed(connection):
                return connection
        return None


class _Queue:
    """Those who wait, first come first served.

    All wait equally long, so the first one's time is up first, and one timer does for all: under load nearly every call
    waits, and `asyncio.timeout` for each costs more than the waiting itself.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, pass_on: Callable[[], None]) -> None:
        """Return when it is one's turn. `pass_on` is called if it was, but the caller had gone. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        until = loop.time() + self._wait_s
        self._waiting.append((until, turn))
        if self._timer is None:
            self._timer = loop.call_at(until, self._end_overdue, loop)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                pass_on()
            raise

    def call_next(self) -> bool:
        """Let the first one go on who still waits. False: nobody waits."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    def _end_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and (self._waiting[0][0] <= loop.time() or self._waiting[0][1].done()):
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(TimeoutError())
        until = self._waiting[0][0] if self._waiting else None
        self._timer = None if until is None else loop.call_at(until, self._end_overdue, loop)
