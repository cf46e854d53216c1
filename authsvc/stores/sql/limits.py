"""Owns how long a database may take. Leaves deadlines of calls to `authsvc.rpc`."""

from dataclasses import dataclass

from authsvc.core.clock import SECOND


@dataclass(frozen=True, slots=True)
class Limits:
    """Longest waits in milliseconds: for one statement, for a new connection, for a free place in the pool.

    On SQLite `command_ms` is how long a writer waits for another process's transaction.
    """

    command_ms: int = 2 * SECOND
    connect_ms: int = 2 * SECOND
    pool_ms: int = 2 * SECOND
