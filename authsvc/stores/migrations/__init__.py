"""Owns how the schema came to be, step by step (Alembic). Leaves what it is now to `stores.sql.schema`.

`upgrade` brings a database to the newest step · `env` is what Alembic runs · `versions` holds the steps, in order.
"""

from authsvc.stores.migrations.upgrade import is_at_head, upgrade_to_head

__all__ = ["is_at_head", "upgrade_to_head"]
