"""Owns how a SQLite connection is made and kept. Leaves statements to the stores.

One file, many readers, one writer at a time. In this process writers queue for the one connection of the writing
engine, first come first served; `busy_timeout` is for other processes, since SQLite's own waiting is not fair.
"""

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authsvc.core.clock import SECOND
from authsvc.stores.sql.limits import Limits


def open_reader(url: URL, pool_size: int, limits: Limits) -> AsyncEngine:
    """Make an engine of which each statement sees the newest commit. It cannot write."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=limits.pool_ms / SECOND,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    _on_connect(engine, limits, "PRAGMA query_only = ON")
    return engine


def open_writer(url: URL, limits: Limits) -> AsyncEngine:
    """Make an engine of one connection, of which each transaction takes the write lock as it begins.

    A transaction that read first and wrote later could find its snapshot outdated and fail without waiting.
    """
    engine = create_async_engine(
        url, pool_size=1, max_overflow=0, pool_timeout=limits.pool_ms / SECOND, hide_parameters=True
    )
    _on_connect(engine, limits)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _on_connect(engine: AsyncEngine, limits: Limits, *more: str) -> None:
    pragmas = (
        f"PRAGMA busy_timeout = {limits.command_ms}",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        *more,
    )

    def prepare(dbapi_connection: Any, _record: object) -> None:
        # The driver begins transactions of its own, too late and not immediate, unless told not to.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
