"""The truth, in PostgreSQL or SQLite: `open_stores` opens it, `SqlStores` holds one store of each kind.

`engine` connections and transactions, over `address`, `limits`, `postgresql`, `sqlite`, `failures` · `schema` the
tables · `rows` the model in rows · `users`, `clients`, `keys`, `audit`, `revocations` a store each · `sessions` a store
too, with `refreshing` (the conditional updates of a refresh) and `ending` (revocations in a transaction).
"""

from authsvc.stores.sql.address import UnknownDatabase
from authsvc.stores.sql.engine import Database, open_database
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.stores import SqlStores, open_stores

__all__ = ["Database", "Limits", "SqlStores", "UnknownDatabase", "open_database", "open_stores"]
