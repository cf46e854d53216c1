"""The truth, in PostgreSQL or SQLite: `open_stores` opens it, `SqlStores` holds one store of each kind.

`schema` the tables · `rows` the model in rows · `users`, `clients`, `keys`, `audit`, `revocations` a store each ·
`sessions` a store too, with `refreshing` (the conditional updates of a refresh), `rotations` (of many at once) and
`ending` (revocations in a transaction) · `database` what they all speak to, over `postgresql` and `sqlite`, with
`address`, `limits`, `failures`, `compiled` and `audit_rows`.
"""

from authsvc.stores.sql.address import UnknownDatabase
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.limits import Limits
from authsvc.stores.sql.stores import SqlStores, open_stores

__all__ = ["Database", "Limits", "RuleBroken", "SqlStores", "UnknownDatabase", "open_stores"]
