"""Owns the one place where trouble with a database becomes `StoreUnavailable`. Leaves deciding on retries to callers.

Nothing is tried again here: after a lost COMMIT nobody knows whether it happened, and only the rules above can tell
whether asking twice is safe. A statement that is wrong in itself (an unknown column, an unfit value) is a mistake of
ours and passes through as it is.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from authsvc.core.contracts import StoreUnavailable

Errors = tuple[type[Exception], ...]


class RuleBroken(Exception):
    """A change would have broken a rule of the schema (something taken, missing, unfit). Nothing has changed."""


_broken: Errors = (sqlite3.IntegrityError,)
_mistakes: Errors = (sqlite3.ProgrammingError,)
_trouble: Errors = (sqlite3.Error, SQLAlchemyError, OSError, TimeoutError)
try:
    import asyncpg.exceptions as postgresql  # type: ignore[import-untyped]
    from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
except ImportError:  # the `postgres` extra is not installed
    pass
else:
    _broken += (postgresql.IntegrityConstraintViolationError,)
    _mistakes += (postgresql.SyntaxOrAccessError, postgresql.DataError)
    # InternalClientError: the connection was broken off while it was at something. The last is what SQLAlchemy makes of
    # the others while it sets a new connection up.
    _trouble += (
        postgresql.PostgresError,
        postgresql.InterfaceError,
        postgresql.InternalClientError,
        AsyncAdapt_asyncpg_dbapi.Error,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what databases, drivers, sockets, pools and timeouts raise into StoreUnavailable or RuleBroken."""
    try:
        yield
    except _broken as error:
        raise RuleBroken from error
    except _mistakes:
        raise
    except _trouble as error:
        raise StoreUnavailable("the database did not answer") from error
