"""Owns borrowing connections and what becomes of them afterwards. Leaves making and keeping them to a `Keeper`."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from authsvc.core import patience
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.sql.failures import translated


class Keeper(Protocol):
    """Keeps so many connections and no more. Connections are the driver's own objects."""

    async def take(self) -> Any:
        """Return a connection that nobody else has, once there is one. Raises TimeoutError, or the driver's errors."""

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next one who asks."""

    def forget(self, connection: Any) -> None:
        """Let another connection be opened in place of this one."""

    async def close(self) -> None:
        """Close what is kept."""


class Pool:
    """Lends connections.

    A connection is given back only if nothing happened or the server has plainly answered (`answers`). Otherwise, above
    all if the borrower was cancelled, nobody knows what is still on its way: it is closed, and another one opened when
    it is needed. Closing goes on behind the borrower's back, so that nobody waits for a dead server.
    """

    def __init__(
        self,
        keeper: Keeper,
        close: Callable[[Any], Awaitable[None]],
        answers: tuple[type[Exception], ...] = (),
    ) -> None:
        self._keeper = keeper
        self._close = close
        self._answers = answers
        self._closing: set[asyncio.Future[None]] = set()
        self.lent = 0
        """Connections that somebody has."""
        self.waiting = 0
        """Borrowers that wait for one."""

    def borrow(self) -> "_Borrowing":
        """Borrow a connection for the length of the block. Raises StoreUnavailable, RuleBroken."""
        return _Borrowing(self)

    async def take(self) -> Any:
        """Return a connection, which `settle` has to be told of afterwards."""
        self.waiting += 1
        try:
            connection = await self._keeper.take()
        finally:
            self.waiting -= 1
        if patience.is_over(patience.waited_until()):
            self._keeper.give_back(connection)
            raise StoreUnavailable("a connection came too late")
        self.lent += 1
        return connection

    def settle(self, connection: Any, error: BaseException | None) -> None:
        """Keep the connection or have it closed, as whatever its borrower met tells."""
        self.lent -= 1
        if error is None or isinstance(error, self._answers):
            self._keeper.give_back(connection)
        else:
            self._keeper.forget(connection)
            self._discard(connection)

    def _discard(self, connection: object) -> None:
        closing = asyncio.ensure_future(self._close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*self._closing)
        await self._keeper.close()


class _Borrowing:
    """A block with a connection: a class, since every statement passes here, and a generator takes twice as long."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Any:
        with translated():
            self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.settle(self._connection, error)
        if error is not None:
            with translated():
                raise error


class EngineKeeper:
    """Has the pool of an SQLAlchemy engine keep connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lent: dict[int, PoolProxiedConnection] = {}

    async def take(self) -> Any:
        """Return a connection of the engine's."""
        proxied = await self._engine.raw_connection()
        self._lent[id(proxied.driver_connection)] = proxied
        return proxied.driver_connection

    def give_back(self, connection: Any) -> None:
        """Hand it back to the engine."""
        self._lent.pop(id(connection)).close()

    def forget(self, connection: Any) -> None:
        """Have the engine forget it."""
        self._lent.pop(id(connection)).detach()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.dispose()
