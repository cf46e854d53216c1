"""Owns connections to PostgreSQL: how they are made, kept and borrowed. Leaves statements to the stores.

asyncpg talks, a `Stack` keeps. Borrowing and giving back costs no round trip: no ping (asyncpg knows when the server
has closed a connection), and no ROLLBACK where no transaction was begun.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import ClauseElement, Select, select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authsvc.core.clock import SECOND
from authsvc.core.model import AuditEvent
from authsvc.overdue import Overdue
from authsvc.stores.sql import address
from authsvc.stores.sql.audit_rows import per_row_of, prefixed_values
from authsvc.stores.sql.compiled import NO_VALUES, Compiler, Values, compiler
from authsvc.stores.sql.database import Change, Database, Place, Rows, Transaction
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
    hosts = [address.dsn(each) for each in address.of_each_host(url)]

    async def connect() -> asyncpg.Connection:
        failure: Exception | None = None
        for host in list(hosts):
            try:
                connection = await asyncpg.connect(
                    host,
                    ssl=tls,
                    timeout=limits.connect_ms / SECOND / len(hosts),
                    server_settings=_session_settings(limits, instance),
                )
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                failure = error
            else:
                hosts.remove(host)  # the one that was good comes first the next time
                hosts.insert(0, host)
                return connection
        assert failure is not None  # noqa: S101  for the type checker: there is a host at least
        raise failure

    return connect


def _session_settings(limits: Limits, instance: str) -> dict[str, str]:
    """Settings for each connection.

    Revisions are gap-free only if READ COMMITTED statements see what earlier holders of the log's row lock have
    committed. A process that stops halfway must not hold that lock for long, hence the server's own time-outs: others
    still get their turn within their own. There is none for statements: it would end a commit's waiting for the
    standby, too, and then everybody would see what the standby has not got. The server finds out within half a minute
    that a host is gone, so that nobody is missed on the roll for long (`core.roll`).
    """
    return {
        "application_name": connection_name(instance),
        "default_transaction_isolation": "read committed",
        "lock_timeout": str(limits.command_ms),
        "idle_in_transaction_session_timeout": str(limits.command_ms // 2),
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }


async def _close(connection: asyncpg.Connection) -> None:
    """Close a connection of which nobody knows what it is at: asyncpg has the server stop, then says goodbye."""
    try:
        await connection.close(timeout=_GOODBYE_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


class _Statements:
    """Statements under way: a connection is broken off if one takes longer than `seconds`.

    asyncpg's own time-outs would ask the server to cancel the statement. A commit that waits for the standby would then
    end at once, seen by everybody, though the standby has not got it: gone after a failover, whoever has read it.
    """

    def __init__(self, compiled: Compiler, seconds: float) -> None:
        self._compile = compiled
        self._under_way: Overdue[asyncpg.Connection] = Overdue(seconds, asyncpg.Connection.terminate)

    async def run(self, connection: asyncpg.Connection, statement: ClauseElement, values: Values) -> Rows:
        compiled = self._compile(statement)
        rows: Rows = await self._under_way.bound(
            connection, connection.fetch(compiled.sql, *compiled.arguments(values))
        )
        return rows

    async def run_many(
        self, connection: asyncpg.Connection, statement: ClauseElement, many: Iterable[Values]
    ) -> None:
        compiled = self._compile(statement)
        arguments = [compiled.arguments(each) for each in many]
        await self._under_way.bound(connection, connection.executemany(compiled.sql, arguments))

    async def say(self, connection: asyncpg.Connection, command: str) -> None:
        await self._under_way.bound(connection, connection.execute(command))


@lru_cache
def _with_event(statement: Change) -> Select[*tuple[Any, ...]]:
    """Extend a statement, so that it writes an audit event for each row it returns: one statement, one round trip."""
    changed = statement.cte("changed")
    return select(changed).add_cte(per_row_of(changed))


class PostgresTransaction(Transaction):
    """A transaction under way on a borrowed connection."""

    def __init__(self, statements: _Statements, connection: asyncpg.Connection) -> None:
        self._statements = statements
        self._connection = connection

    async def run(self, statement: ClauseElement, values: Values = NO_VALUES) -> Rows:
        """Run a statement and return its rows."""
        return await self._statements.run(self._connection, statement, values)

    async def run_many(self, statement: ClauseElement, many: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        await self._statements.run_many(self._connection, statement, many)


class PostgresDatabase(Database):
    """A PostgreSQL database."""

    def __init__(self, url: URL, pool_size: int, reserved_size: int, limits: Limits, instance: str) -> None:
        connect = _connector(url, limits, instance)

        def pool(size: int) -> Pool:
            kept = Stack(connect, _close, asyncpg.Connection.is_closed, size, limits.pool_ms)
            return Pool(kept, _close, (asyncpg.PostgresError,))

        self._places = {
            Place.ORDINARY: pool(pool_size),
            Place.REVOKING: pool(reserved_size),
            Place.FOLLOWING: pool(1),
        }
        self.pools = {place.name.lower(): kept for place, kept in self._places.items()}
        dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
        self._statements = _Statements(compiler(dialect), limits.command_ms / SECOND)

    async def read(
        self, statement: ClauseElement, values: Values = NO_VALUES, place: Place = Place.ORDINARY
    ) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""
        async with self._places[place].borrow() as connection:
            return await self._statements.run(connection, statement, values)

    async def change(
        self, statement: Change, values: Values = NO_VALUES, event: AuditEvent | None = None
    ) -> Rows:
        """Run one statement that changes something; outside a transaction each is committed by itself."""
        if event is None:
            return await self.read(statement, values)
        return await self.read(_with_event(statement), {**values, **prefixed_values(event)})

    @asynccontextmanager
    async def write(self, *, reserved: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction, committed at the end of the block and rolled back if the block raises."""
        place = Place.REVOKING if reserved else Place.ORDINARY
        async with self._places[place].borrow() as connection:
            await self._statements.say(connection, "BEGIN")
            try:
                yield PostgresTransaction(self._statements, connection)
            except Exception:
                if not connection.is_closed():
                    await self._statements.say(connection, "ROLLBACK")
                raise
            await self._statements.say(connection, "COMMIT")

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._places.values():
            await pool.close()
