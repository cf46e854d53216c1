"""Owns connections to a SQLite file: how they are made, kept and borrowed. Leaves statements to the stores.

Many readers, one writer at a time. In this process writers queue for the one connection of the writing engine, first
come first served; `busy_timeout` is for other processes, since SQLite's own waiting is not fair. SQLAlchemy keeps the
pools, aiosqlite talks, each connection from a thread of its own.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from sqlalchemy import ClauseElement, Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authsvc.core.clock import SECOND
from authsvc.core.model import AuditEvent
from authsvc.stores.sql.audit_rows import INSERT_EVENT, of_row
from authsvc.stores.sql.compiled import NO_VALUES, Compiler, Values, compiler
from authsvc.stores.sql.database import Change, Database, Place, Rows, Transaction
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.pool import EngineKeeper, Pool
from authsvc.stores.sql.rows import event_values


def open_reader(url: URL, pool_size: int, limits: Limits) -> AsyncEngine:
    """Make an engine of which each statement sees the newest commit. It cannot write."""
    return _open_engine(url, pool_size, limits, "PRAGMA query_only = ON")


def open_writer(url: URL, limits: Limits) -> AsyncEngine:
    """Make an engine of one connection, of which each transaction takes the write lock as it begins.

    A transaction that read first and wrote later could find its snapshot outdated and fail without waiting.
    """
    engine = _open_engine(url, 1, limits)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _open_engine(url: URL, pool_size: int, limits: Limits, *pragmas: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=limits.pool_ms / SECOND,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        hide_parameters=True,
    )

    def prepare(dbapi_connection: Any, _record: object) -> None:
        # The driver begins transactions of its own, too late and not immediate, unless told not to.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in (
            f"PRAGMA busy_timeout = {limits.command_ms}",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
            *pragmas,
        ):
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    return engine


def _begin_immediate(connection: Connection) -> None:
    """Begin a transaction of SQLAlchemy's own, as migrations use them."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _close(connection: aiosqlite.Connection) -> None:
    """Close a connection once its thread has done what it is at; that rolls back what was not committed."""
    await connection.close()


class SqliteTransaction(Transaction):
    """A transaction under way on a borrowed connection."""

    def __init__(self, compiled: Compiler, connection: aiosqlite.Connection) -> None:
        self._compile = compiled
        self._connection = connection

    async def run(self, statement: ClauseElement, values: Values = NO_VALUES) -> Rows:
        """Run a statement and return its rows."""
        compiled = self._compile(statement)
        return list(await self._connection.execute_fetchall(compiled.sql, compiled.arguments(values)))

    async def run_many(self, statement: ClauseElement, many: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        compiled = self._compile(statement)
        cursor = await self._connection.executemany(
            compiled.sql, [compiled.arguments(values) for values in many]
        )
        await cursor.close()


class SqliteDatabase(Database):
    """A SQLite file. Nothing has a place of its own: reading is quick, and there is one writer."""

    def __init__(self, url: URL, pool_size: int, limits: Limits) -> None:
        reader = open_reader(url, pool_size, limits)
        self._readers = Pool(EngineKeeper(reader), _close)
        self._writer = Pool(EngineKeeper(open_writer(url, limits)), _close)
        self.pools = {"readers": self._readers, "writer": self._writer}
        self._compile = compiler(reader.dialect)

    async def read(
        self, statement: ClauseElement, values: Values = NO_VALUES, place: Place = Place.ORDINARY
    ) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""
        compiled = self._compile(statement)
        async with self._readers.borrow() as connection:
            return list(await connection.execute_fetchall(compiled.sql, compiled.arguments(values)))

    async def change(
        self, statement: Change, values: Values = NO_VALUES, event: AuditEvent | None = None
    ) -> Rows:
        """Run one statement that changes something, and the event's if it returned a row, in a transaction."""
        async with self.write() as transaction:
            rows = await transaction.run(statement, values)
            if rows and event is not None:
                await transaction.run(INSERT_EVENT, event_values(of_row(event, statement, rows[0])))
        return rows

    @asynccontextmanager
    async def write(self, *, reserved: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction, committed at the end of the block and rolled back if the block raises."""
        async with self._writer.borrow() as connection:
            await connection.execute_fetchall("BEGIN IMMEDIATE")
            try:
                yield SqliteTransaction(self._compile, connection)
            except Exception:
                await connection.execute_fetchall("ROLLBACK")
                raise
            await connection.execute_fetchall("COMMIT")

    async def close(self) -> None:
        """Close every connection."""
        await self._readers.close()
        await self._writer.close()
