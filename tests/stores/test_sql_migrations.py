"""Migrations: where they lead, and that any number of hosts may run them at any time."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.model import LogPosition
from authsvc.stores.migrations import is_at_head, upgrade_to_head
from authsvc.stores.sql import address, open_stores
from authsvc.stores.sql.schema import metadata
from tests.parts.postgres import Postgres
from tests.parts.records import add_user

MIGRATE = """
import asyncio, sys
from authsvc.stores.migrations import upgrade_to_head
asyncio.run(upgrade_to_head(sys.argv[1]))
"""

# Everything PostgreSQL knows of our tables: columns, constraints, indexes, storage.
CATALOGUE = """
SELECT 'column', c.relname, a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                                                 co.collname)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation co ON co.oid = a.attcollation
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'storage', relname, '', concat_ws(' ', VARIADIC reloptions)
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """A plain connection to a database, in a transaction."""
    engine: AsyncEngine = create_async_engine(address.parse(url))
    async with engine.begin() as connection:
        yield connection
    await engine.dispose()


def without_alembic(lines: Iterable[str]) -> list[str]:
    """The lines that are not about Alembic's own table, in a fixed order."""
    return sorted(line for line in lines if "alembic_version" not in line)


async def postgres_catalogue(url: str) -> list[str]:
    """Everything PostgreSQL knows of the schema, line by line."""
    async with connected(url) as connection:
        return without_alembic(str(tuple(row)) for row in await connection.execute(text(CATALOGUE)))


async def sqlite_catalogue(url: str) -> list[str]:
    """Everything SQLite knows of the schema, part by part. The order of parts in a table does not matter: a column that
    came later stands after the constraints."""
    async with connected(url) as connection:
        rows = (await connection.execute(text("SELECT tbl_name, sql FROM sqlite_master"))).all()
    return without_alembic(f"{table}: {part}" for table, sql in rows if sql for part in _parts(sql))


def _parts(sql: str) -> list[str]:
    """The parts of a CREATE TABLE, or the one of a CREATE INDEX: split at commas outside parentheses."""
    head, _, body = " ".join(sql.split()).partition("(")
    parts, depth = [""], 0
    for character in body.rpartition(")")[0]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [head.strip(), *(part.strip() for part in parts), body.rpartition(")")[2].strip()]


def modes(directory: Path) -> dict[str, int]:
    """The files of a directory and who may do what with them."""
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def tables(url: str) -> set[str]:
    """The names of all tables."""
    async with connected(url) as connection:
        return set(await connection.run_sync(lambda sync: sync.dialect.get_table_names(sync)))


async def test_from_nothing(empty_database_url: str) -> None:
    """An empty database is brought to the newest schema, ready to be used."""
    assert not await is_at_head(empty_database_url)

    await upgrade_to_head(empty_database_url)

    assert await is_at_head(empty_database_url)
    stores = open_stores(empty_database_url)
    assert await stores.log.position() == LogPosition(revision=0, epoch=1, registry=0)
    await stores.close()


async def test_again(database_url: str) -> None:
    """An upgrade of a database that is up to date changes nothing and loses nothing."""
    stores = open_stores(database_url)
    user = await add_user(stores)
    await stores.log.bump_epoch()

    await upgrade_to_head(database_url)

    assert await stores.users.get(user.id) == user
    assert (await stores.log.position()).epoch == 2
    await stores.close()


async def test_as_the_code_has_it(database_url: str) -> None:
    """Alembic finds no difference between what the steps made and the tables as the code has them."""

    def compare(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, metadata)

    async with connected(database_url) as connection:
        assert await connection.run_sync(compare) == []


async def test_to_the_letter_postgres(postgres: Postgres, postgres_url: str, empty_postgres_url: str) -> None:
    """Nor does PostgreSQL, which knows more: identities, conditions, collations, partial indexes, storage."""
    async with connected(empty_postgres_url) as connection:
        await connection.run_sync(metadata.create_all)

    assert await postgres_catalogue(postgres_url) == await postgres_catalogue(empty_postgres_url)


async def test_to_the_letter_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    """Nor does SQLite."""
    from_code = f"sqlite:///{tmp_path / 'from code.db'}"
    async with connected(from_code) as connection:
        await connection.run_sync(metadata.create_all)

    assert await sqlite_catalogue(sqlite_url) == await sqlite_catalogue(from_code)


async def test_many_at_once(empty_database_url: str) -> None:
    """Many that upgrade an empty database at once all succeed."""
    await asyncio.gather(*(upgrade_to_head(empty_database_url) for _ in range(8)))

    assert await is_at_head(empty_database_url)


async def test_many_processes_at_once(empty_database_url: str) -> None:
    """So they do as processes of their own, as on many hosts."""
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", MIGRATE, empty_database_url)
        for _ in range(4)
    ]

    assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    assert await is_at_head(empty_database_url)


async def test_cut_off(empty_database_url: str) -> None:
    """An upgrade that fails halfway has not happened, and can be run again."""
    async with connected(empty_database_url) as connection:
        await connection.execute(text("CREATE TABLE audit_events (in_the_way INTEGER)"))

    with pytest.raises((StoreUnavailable, SQLAlchemyError)):
        await upgrade_to_head(empty_database_url)

    assert await tables(empty_database_url) == {"audit_events"}
    async with connected(empty_database_url) as connection:
        await connection.execute(text("DROP TABLE audit_events"))
    await upgrade_to_head(empty_database_url)
    assert await is_at_head(empty_database_url)


async def test_odd_path(tmp_path: Path) -> None:
    """A path may hold spaces and percent signs."""
    directory = tmp_path / "two words 100%"
    directory.mkdir()
    url = f"sqlite:///{directory / 'auth svc.db'}"

    await upgrade_to_head(url)

    assert await is_at_head(url)


async def test_nobody_else_may_read(empty_sqlite_url: str, tmp_path: Path) -> None:
    """A SQLite file, and what SQLite puts beside it, is for its owner alone."""
    await upgrade_to_head(empty_sqlite_url)
    stores = open_stores(empty_sqlite_url)
    await add_user(stores)

    assert modes(tmp_path) == dict.fromkeys(["authsvc.db", "authsvc.db-wal", "authsvc.db-shm"], 0o600)
    await stores.close()


async def test_looking_changes_nothing(empty_sqlite_url: str, tmp_path: Path) -> None:
    """To ask whether a database is up to date does not create it."""
    assert not await is_at_head(empty_sqlite_url)

    assert modes(tmp_path) == {}


async def test_nowhere(tmp_path: Path) -> None:
    """A database that cannot be reached is unavailable to migrations as to everything else."""
    with pytest.raises(StoreUnavailable):
        await upgrade_to_head(f"postgresql:///none?host={tmp_path}")
