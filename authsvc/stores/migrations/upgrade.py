"""Owns bringing a database to the newest schema, from any number of hosts at once. Leaves the steps to `versions`,
telling whether they are needed to `state`.

Everything happens in one transaction under a lock: the second host waits, then finds nothing to do. Both databases
have transactional DDL, so an upgrade that is cut off has not happened.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from authsvc.core.clock import MINUTE
from authsvc.stores.sql import address, sqlite
from authsvc.stores.sql.failures import translated
from authsvc.stores.sql.limits import Limits

_LIMITS = Limits(command_ms=10 * MINUTE, connect_ms=MINUTE // 6)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('authsvc.migrations'))")


async def upgrade_to_head(database_url: str) -> None:
    """Bring the schema to the newest step. Raises StoreUnavailable, address.UnknownDatabase."""
    engine = open_engine(database_url)
    try:
        with translated():
            _create_file(address.parse(database_url))
            async with engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execute(_LOCK)
                await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def open_engine(database_url: str) -> AsyncEngine:
    """Open one connection's worth of a database. Raises address.UnknownDatabase."""
    url = address.parse(database_url)
    if not address.is_postgresql(url):
        return sqlite.open_writer(url, _LIMITS)

    from authsvc.stores.sql import postgresql  # asyncpg is installed only where it is used

    return postgresql.open_engine(url, _LIMITS)


def _create_file(url: URL) -> None:
    """Create a SQLite file that nobody else may read, before SQLite creates one that all may."""
    if not address.is_postgresql(url):
        address.file(url).touch(mode=0o600)


def may_exist(url: URL) -> bool:
    """Whether there may be a database: to look into a SQLite file would make it."""
    return address.is_postgresql(url) or address.file(url).exists()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def scripts() -> ScriptDirectory:
    """All steps that this version knows."""
    return ScriptDirectory.from_config(_config())
