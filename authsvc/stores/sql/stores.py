"""Owns the bundle: one store of each kind over one database. Leaves the schema to `authsvc.stores.migrations`."""

from authsvc.stores.sql.audit import AuditLog
from authsvc.stores.sql.clients import ClientStore
from authsvc.stores.sql.engine import Database, open_database
from authsvc.stores.sql.keys import KeyStore
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.revocations import RevocationLog
from authsvc.stores.sql.sessions import SessionStore
from authsvc.stores.sql.users import UserStore


class SqlStores:
    """Every store of one database. What each promises is in `core.contracts`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.users = UserStore(database)
        self.clients = ClientStore(database)
        self.sessions = SessionStore(database)
        self.log = RevocationLog(database)
        self.keys = KeyStore(database)
        self.audit = AuditLog(database)

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises StoreUnavailable."""
        await self.database.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()


def open_stores(
    database_url: str, *, pool_size: int = 10, reserved_size: int = 2, limits: Limits | None = None
) -> SqlStores:
    """Open the stores of `postgresql://…` or `sqlite:///path`; nothing is connected before the first use.

    Raises UnknownDatabase.
    """
    return SqlStores(
        open_database(database_url, pool_size=pool_size, reserved_size=reserved_size, limits=limits)
    )
