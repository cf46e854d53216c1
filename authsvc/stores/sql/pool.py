"""Owns borrowing connections and what becomes of them afterwards. Leaves keeping them to SQLAlchemy's pool."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from authsvc.stores.sql.failures import translated


class Pool:
    """The connections of one engine, as the driver's own objects.

    A connection is given back only if nothing happened or the server has plainly answered (`answers`). Otherwise, above
    all if the borrower was cancelled, nobody knows what is still on its way: it is closed, and another one opened when
    it is needed. Closing goes on behind the borrower's back, so that nobody waits for a dead server.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        close: Callable[[Any], Awaitable[None]],
        answers: tuple[type[Exception], ...] = (),
    ) -> None:
        self._engine = engine
        self._close = close
        self._answers = answers
        self._closing: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Any]:
        """Borrow a connection for the length of the block. Raises StoreUnavailable, RuleBroken."""
        with translated():
            proxied = await self._engine.raw_connection()
            connection = proxied.driver_connection
            try:
                yield connection
            except self._answers:
                proxied.close()
                raise
            except BaseException:
                proxied.detach()
                self._discard(connection)
                raise
            proxied.close()

    def _discard(self, connection: object) -> None:
        closing = asyncio.ensure_future(self._close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*self._closing)
        await self._engine.dispose()
