"""Owns how the schema came to be, step by step (Alembic). Leaves what it is now to `stores.sql.schema`.

`upgrade` brings a database to the newest step · `state` tells whether this version can work with it · `env` is what
Alembic runs · `versions` holds the steps, in order.
"""

from authsvc.stores.migrations.state import SchemaState, is_at_head, schema_state
from authsvc.stores.migrations.upgrade import upgrade_to_head

__all__ = ["SchemaState", "is_at_head", "schema_state", "upgrade_to_head"]
