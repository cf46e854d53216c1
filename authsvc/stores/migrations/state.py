"""Owns telling whether this version can work with the schema of a database. Leaves changing it to `upgrade`.

Steps only add: a version works with any later schema, so old and new instances run side by side while one after the
other is replaced (first `authsvc migrate`, then the instances). What is to go for good goes in two releases: the first
no longer needs it; a step of the second takes it away, and counts itself in `deployment.contracted`. A version that
knows fewer such steps than a database has seen does not work with it any more.
"""

from enum import Enum, auto

from alembic.migration import MigrationContext
from sqlalchemy import Connection, select

from authsvc.stores.migrations.upgrade import may_exist, open_engine, scripts
from authsvc.stores.sql import address
from authsvc.stores.sql.failures import translated
from authsvc.stores.sql.schema import deployment

CONTRACTED = 0
"""How many steps there are, up to this version, that older versions cannot live with."""


class SchemaState(Enum):
    """How a database's schema is, as seen from this version."""

    OLDER = auto()
    """It lacks steps: to be migrated first."""
    CURRENT = auto()
    NEWER = auto()
    """It has steps that this version does not know, and serves it all the same."""
    TOO_NEW = auto()
    """It lacks something that this version needs, and that a newer one has taken away."""


async def schema_state(database_url: str) -> SchemaState:
    """Return how the schema is. Changes nothing, makes no file. Raises StoreUnavailable, address.UnknownDatabase."""
    if not may_exist(address.parse(database_url)):
        return SchemaState.OLDER
    engine = open_engine(database_url)
    try:
        with translated():
            async with engine.begin() as connection:
                return await connection.run_sync(_state)
    finally:
        await engine.dispose()


async def is_at_head(database_url: str) -> bool:
    """Say whether the schema is the one of this version. Raises as `schema_state` does."""
    return await schema_state(database_url) is SchemaState.CURRENT


def _state(connection: Connection) -> SchemaState:
    current = MigrationContext.configure(connection).get_current_revision()
    known = scripts()
    if current == known.get_current_head():
        return SchemaState.CURRENT
    if current is None or current in {step.revision for step in known.walk_revisions()}:
        return SchemaState.OLDER
    contracted = connection.execute(select(deployment.c.contracted)).scalar_one()
    return SchemaState.NEWER if contracted <= CONTRACTED else SchemaState.TOO_NEW
