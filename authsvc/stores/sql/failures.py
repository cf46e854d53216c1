"""Owns the one place where trouble with a database becomes `StoreUnavailable`. Leaves deciding on retries to callers.

Nothing is tried again here: after a lost COMMIT nobody knows whether it happened, and only the rules above can tell
whether asking twice is safe. A statement that is wrong in itself (a broken constraint, unknown column, unfit value) is
a mistake of ours and passes through as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from authsvc.core.contracts import StoreUnavailable

try:
    from asyncpg import InterfaceError, PostgresError  # type: ignore[import-untyped]
except ImportError:  # the `postgres` extra is not installed
    _driver_errors: tuple[type[Exception], ...] = ()
else:
    _driver_errors = (InterfaceError, PostgresError)

_MISTAKES = (DataError, IntegrityError, ProgrammingError)
# Until a connection stands, asyncpg's errors arrive as they are.
_TROUBLE: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, TimeoutError, *_driver_errors)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what databases, drivers, sockets, pools and timeouts raise into StoreUnavailable."""
    try:
        yield
    except _MISTAKES:
        raise
    except _TROUBLE as error:
        raise StoreUnavailable("the database did not answer") from error
