"""Owns connections to PostgreSQL: how they are made, kept and borrowed. Leaves statements to the stores.

asyncpg talks, a `Stack` keeps. Borrowing and giving back costs no round trip: no ping (asyncpg knows when the server
has closed a connection), and no ROLLBACK where no transaction was begun.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import ClauseElement, Delete, Insert, Select, Update, select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authsvc.core.clock import SECOND
from authsvc.core.model import AuditEvent
from authsvc.stores.sql import address
from authsvc.stores.sql.audit_rows import per_row_of, prefixed_values
from authsvc.stores.sql.compiled import NO_VALUES, Compiler, Values, compiler
from authsvc.stores.sql.database import Database, Rows, Transaction
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.peers import connection_name
from authsvc.stores.sql.pool import Pool
from authsvc.stores.sql.stack import Stack
from authsvc.stores.sql.tls import tls_of

_GOODBYE_S = 1


def open_engine(url: URL, limits: Limits) -> AsyncEngine:
    """Make an engine of one connection, for migrations."""
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=_connector(url, limits), pool_size=1, hide_parameters=True
    )


def _connector(url: URL, limits: Limits, instance: str = "") -> Callable[[], Awaitable[asyncpg.Connection]]:
    tls = tls_of(url)

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            address.dsn(url),
            ssl=tls,
            timeout=limits.connect_ms / SECOND,
            command_timeout=limits.command_ms / SECOND,
            server_settings=_session_settings(limits, instance),
        )

    return connect


def _session_settings(limits: Limits, instance: str) -> dict[str, str]:
    """Settings for each connection.

    Revisions are gap-free only if READ COMMITTED statements see what earlier holders of the log's row lock have
    committed. A process that stops halfway must not hold that lock for long, hence the server's own timeouts.
    """
    return {
        "application_name": connection_name(instance),
        "default_transaction_isolation": "read committed",
        "statement_timeout": str(2 * limits.command_ms),
        "idle_in_transaction_session_timeout": str(2 * limits.command_ms),
    }


async def _close(connection: asyncpg.Connection) -> None:
    """Close a connection of which nobody knows what it is at: asyncpg has the server stop, then says goodbye."""
    try:
        await connection.close(timeout=_GOODBYE_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


@lru_cache
def _with_event(statement: Insert | Update | Delete) -> Select[*tuple[Any, ...]]:
    """Extend a statement, so that it writes an audit event for each row it returns: one statement, one round trip."""
    changed = statement.cte("changed")
    return select(changed).add_cte(per_row_of(changed))


class PostgresTransaction(Transaction):
    """A transaction under way on a borrowed connection."""

    def __init__(self, compiled: Compiler, connection: asyncpg.Connection) -> None:
        self._compile = compiled
        self._connection = connection

    async def run(self, statement: ClauseElement, values: Values = NO_VALUES) -> Rows:
        """Run a statement and return its rows."""
        compiled = self._compile(statement)
        rows: Rows = await self._connection.fetch(compiled.sql, *compiled.arguments(values))
        return rows

    async def run_many(self, statement: ClauseElement, many: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        compiled = self._compile(statement)
        await self._connection.executemany(compiled.sql, [compiled.arguments(values) for values in many])


class PostgresDatabase(Database):
    """A PostgreSQL database."""

    def __init__(self, url: URL, pool_size: int, reserved_size: int, limits: Limits, instance: str) -> None:
        connect = _connector(url, limits, instance)

        def pool(size: int) -> Pool:
            kept = Stack(connect, _close, asyncpg.Connection.is_closed, size, limits.pool_ms)
            return Pool(kept, _close, (asyncpg.PostgresError,))

        self._main, self._reserved = pool(pool_size), pool(reserved_size)
        self.pools = {"main": self._main, "reserved": self._reserved}
        self._compile = compiler(PGDialect_asyncpg())  # type: ignore[no-untyped-call]

    async def read(self, statement: ClauseElement, values: Values = NO_VALUES) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""
        compiled = self._compile(statement)
        async with self._main.borrow() as connection:
            rows: Rows = await connection.fetch(compiled.sql, *compiled.arguments(values))
            return rows

    async def change(
        self, statement: Insert | Update | Delete, values: Values = NO_VALUES, event: AuditEvent | None = None
    ) -> Rows:
        """Run one statement that changes something; outside a transaction each is committed by itself."""
        if event is None:
            return await self.read(statement, values)
        return await self.read(_with_event(statement), {**values, **prefixed_values(event)})

    @asynccontextmanager
    async def write(self, *, reserved: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction, committed at the end of the block and rolled back if the block raises."""
        pool = self._reserved if reserved else self._main
        async with pool.borrow() as connection:
            await connection.execute("BEGIN")
            try:
                yield PostgresTransaction(self._compile, connection)
            except Exception:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def close(self) -> None:
        """Close every connection."""
        await self._main.close()
        await self._reserved.close()
