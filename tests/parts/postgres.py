"""Real PostgreSQL servers for tests, from the wheel. One per worker, an empty database for each test.

Registered in `tests/conftest.py`. Unix socket only; what it writes need not survive, so it never waits for the disk.
"""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from authsvc.stores.embedded_postgres import EmbeddedPostgres
from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql.schema import deployment, log_state, metadata

_DISCONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_ONE_ROW = (log_state, deployment)
# To empty tables takes 2 ms; to copy a database, or to truncate tables, takes 100 times as long.
_EMPTY = [
    *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables) if table not in _ONE_ROW),
    "UPDATE log_state SET revision = 0, epoch = 1, registry = 0",
    "UPDATE deployment SET housekeeper = '', housekeeper_until = 0",
]


class Postgres(EmbeddedPostgres):
    """One server process and its databases, made and emptied fast."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__({"fsync": "off"} if settings is None else settings)
        self._numbers = itertools.count()
        self._migrated: str | None = None

    async def create_database(self) -> str:
        """Make a database without a schema and return its name. Slow."""
        name = f"test{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    async def drop_database(self, name: str) -> None:
        """Delete a database, whoever is still connected."""
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def empty_migrated(self) -> str:
        """Return the name of a database of the newest schema without data: the same one each time, emptied. Fast."""
        if self._migrated is None:
            self._migrated = await self.create_database()
            await upgrade_to_head(self.url(self._migrated))
        await self.execute(_DISCONNECT, *_EMPTY, database=self._migrated)
        return self._migrated


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this worker. Leave it running; use `postgres_url`."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of this test's own, to be stopped and started again, set up as `authsvc serve` wants it."""
    server = Postgres({})
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def empty_postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """A database without a schema."""
    name = await postgres.create_database()
    yield postgres.url(name)
    await postgres.drop_database(name)


@pytest.fixture
async def postgres_url(postgres: Postgres) -> str:
    """A database of the newest schema, without data."""
    return postgres.url(await postgres.empty_migrated())
