"""Empty databases of both kinds, and the stores over them. Registered in `tests/conftest.py`.

A test that takes `database_url` or `stores` runs twice, on SQLite and on PostgreSQL.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql import Limits, SqlStores, open_stores
from authsvc.stores.sql.schema import audit_events

BOTH = ["sqlite", "postgres"]
PATIENT = Limits(command_ms=20_000, connect_ms=20_000, pool_ms=20_000)  # for machines under load


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(upgrade_to_head(f"sqlite:///{path}"))
    return path


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A database without a schema: not even a file yet."""
    return f"sqlite:///{tmp_path / 'authsvc.db'}"


@pytest.fixture
def sqlite_url(empty_sqlite_url: str, _sqlite_template: Path, tmp_path: Path) -> str:
    """A database of the newest schema, without data."""
    shutil.copy(_sqlite_template, tmp_path / "authsvc.db")
    return empty_sqlite_url


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without a schema, of each kind in turn."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of the newest schema, of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[SqlStores]:
    """Empty stores, of each kind in turn. With enough connections for many at once to be really at once."""
    opened = open_stores(database_url, pool_size=48, limits=PATIENT)
    yield opened
    await opened.close()


async def audited(stores: SqlStores) -> list[str]:
    """What happened, as the audit log has it, in order."""
    rows = await stores.database.read(select(audit_events.c.event).order_by(audit_events.c.id))
    return [event for [event] in rows]
