"""Owns keeping connections, the one used last on top. Leaves how they are made to the database's file.

SQLAlchemy's pool does the same and more; behind asyncio each borrowing there switches greenlets twice, which made up
70 of the 420 µs of CPU that a refresh took on our side.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from authsvc.core.clock import SECOND
from authsvc.overdue import Overdue


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
    """Those who wait, first come first served. Raises TimeoutError in whoever waits too long."""

    def __init__(self, wait_s: float) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._overdue: Overdue[asyncio.Future[None]] = Overdue(wait_s, self._give_up)

    async def wait(self, pass_on: Callable[[], None]) -> None:
        """Return when it is one's turn. `pass_on` is called if it was, but the caller had gone. Raises TimeoutError."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._overdue.begin(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                pass_on()
            raise
        finally:
            self._overdue.end(turn)

    def call_next(self) -> bool:
        """Let the first one go on who still waits. False: nobody waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(TimeoutError())
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
