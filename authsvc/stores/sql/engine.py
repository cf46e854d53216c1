"""Owns the connections to the one database: pools, transactions, autocommit. Leaves what they say to the stores.

Two ways to change something: `change` is one statement, committed when it returns (on PostgreSQL one round trip);
`write` is a transaction of several. Revocations use places of their own (`reserved`), so that they get through when
everything else is busy.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, Executable, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authsvc.stores.sql import address, sqlite
from authsvc.stores.sql.failures import translated
from authsvc.stores.sql.limits import Limits

Values = Mapping[str, Any]
Rows = Sequence[Row[*tuple[Any, ...]]]


class Database:
    """One database, PostgreSQL or SQLite. Every method may raise StoreUnavailable; then nothing is known."""

    def __init__(
        self, *, is_postgresql: bool, reads: AsyncEngine, writes: AsyncEngine, reserved: AsyncEngine
    ) -> None:
        self.is_postgresql = is_postgresql
        self._reads = reads
        self._writes = writes
        self._reserved = reserved

    async def read(self, statement: Executable, values: Values | None = None) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""
        with translated():
            async with self._reads.connect() as connection:
                return _rows(await connection.execute(statement, values))

    async def change(self, statement: Executable, values: Values | None = None) -> Rows:
        """Run one statement that changes something, and return its rows once it is committed."""
        if self.is_postgresql:
            return await self.read(statement, values)
        async with self.write() as connection:
            return _rows(await connection.execute(statement, values))

    @asynccontextmanager
    async def write(self, *, reserved: bool = False) -> AsyncIterator[AsyncConnection]:
        """Open a transaction, committed at the end of the block and rolled back if the block raises."""
        engine = self._reserved if reserved else self._writes
        with translated():
            async with engine.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        await self.read(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        for engine in (self._reads, self._writes, self._reserved):
            await engine.dispose()


def _rows(result: CursorResult[*tuple[Any, ...]]) -> Rows:
    return result.all() if result.returns_rows else ()


def open_database(
    database_url: str, *, pool_size: int = 10, reserved_size: int = 2, limits: Limits | None = None
) -> Database:
    """Open `postgresql://…` or `sqlite:///path`; nothing is connected before the first use.

    On PostgreSQL at most `pool_size` + `reserved_size` connections. Raises address.UnknownDatabase.
    """
    url = address.parse(database_url)
    limits = limits or Limits()
    if not address.is_postgresql(url):
        writer = sqlite.open_writer(url, limits)
        reader = sqlite.open_reader(url, pool_size, limits)
        return Database(is_postgresql=False, reads=reader, writes=writer, reserved=writer)

    from authsvc.stores.sql import postgresql  # asyncpg is installed only where it is used

    writes = postgresql.open_engine(url, pool_size, limits)
    return Database(
        is_postgresql=True,
        reads=writes.execution_options(isolation_level="AUTOCOMMIT"),
        writes=writes,
        reserved=postgresql.open_engine(url, reserved_size, limits),
    )
