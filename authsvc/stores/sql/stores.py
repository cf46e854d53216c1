"""Owns the bundle: one store of each kind over one database. Leaves the schema to `authsvc.stores.migrations`."""

from authsvc.core.roll import Peers
from authsvc.core.spans import Spans
from authsvc.stores.sql import address
from authsvc.stores.sql.audit import AuditLog
from authsvc.stores.sql.clients import ClientStore
from authsvc.stores.sql.evidence import Evidence
from authsvc.stores.sql.housekeeping import HousekeepingStore
from authsvc.stores.sql.keys import KeyStore
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.logins import LoginStore
from authsvc.stores.sql.observed import ObservedDatabase
from authsvc.stores.sql.peers import ConnectedPeers, NoPeers
from authsvc.stores.sql.revocations import RevocationLog
from authsvc.stores.sql.rotations import Rotations
from authsvc.stores.sql.second_factors import SecondFactorStore
from authsvc.stores.sql.sessions import Rotate, SessionStore
from authsvc.stores.sql.sqlite import SqliteDatabase
from authsvc.stores.sql.users import UserStore


class SqlStores:
    """Every store of one database. What each promises is in `core.contracts`."""

    def __init__(
        self, database: ObservedDatabase, instance: str, peers: Peers, rotate: Rotate | None = None
    ) -> None:
        self.database = database
        self.instance = instance
        """The name of the instance that uses them; empty for other programs."""
        self.peers = peers
        self.users = UserStore(database)
        self.logins = LoginStore(database)
        self.clients = ClientStore(database)
        self.second_factors = SecondFactorStore(database)
        self.sessions = SessionStore(database, rotate)
        self.log = RevocationLog(database)
        self.keys = KeyStore(database)
        self.audit = AuditLog(database)
        self.evidence = Evidence(database)
        self.housekeeping = HousekeepingStore(database)

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises StoreUnavailable."""
        await self.database.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()


def open_stores(
    database_url: str,
    *,
    pool_size: int = 10,
    reserved_size: int = 2,
    limits: Limits | None = None,
    spans: Spans | None = None,
    instance: str = "",
) -> SqlStores:
    """Open the stores of `postgresql://…` or `sqlite:///path`; nothing is connected before the first use. `instance` is
    the name by which others find it there.

    On PostgreSQL at most `pool_size` + `reserved_size` connections, and one to follow the log. Raises UnknownDatabase.
    """
    url = address.parse(database_url)
    limits = limits or Limits()
    if not address.is_postgresql(url):
        return SqlStores(ObservedDatabase(SqliteDatabase(url, pool_size, limits), spans), instance, NoPeers())

    from authsvc.stores.sql.postgresql import PostgresDatabase  # asyncpg is installed only where it is used

    database = PostgresDatabase(url, pool_size, reserved_size, limits, instance)
    observed = ObservedDatabase(database, spans)
    return SqlStores(observed, instance, ConnectedPeers(database), Rotations(observed).rotate)
