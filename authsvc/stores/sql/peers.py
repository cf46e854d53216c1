"""Owns which instances are connected to the database, as PostgreSQL sees it: each names its connections after itself.

Leaves what follows from that to `core.roll`. With SQLite there is one machine, and it is never cut off from its disk.
"""

from sqlalchemy import bindparam, text

from authsvc.stores.sql.database import Database

_PREFIX = "authsvc/"
_CONNECTED = text(
    "SELECT DISTINCT application_name FROM pg_stat_activity"
    " WHERE datname = current_database() AND starts_with(application_name, :prefix)"
).bindparams(bindparam("prefix", value=_PREFIX, required=False))


def connection_name(instance: str) -> str:
    """Return what an instance calls its connections; other programs, such as commands, have no name of their own."""
    return f"{_PREFIX}{instance}" if instance else "authsvc"


class ConnectedPeers:
    """core.roll.Peers, on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> frozenset[str]:
        """Return the names of all instances that hold a connection."""
        return frozenset(name.removeprefix(_PREFIX) for [name] in await self._database.read(_CONNECTED))


class NoPeers:
    """core.roll.Peers, on SQLite."""

    async def list(self) -> frozenset[str]:
        """Return nobody."""
        return frozenset()
