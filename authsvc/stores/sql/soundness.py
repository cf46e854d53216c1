"""Owns looking at whether a PostgreSQL server keeps what it acknowledges. Leaves refusing it to `authsvc.commands`.

What is acknowledged must survive the power going. Waiting for a standby, too, is the operator's choice: any
`synchronous_commit` but `off` waits for the server's own disk, at least.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, text

from authsvc.stores.sql.database import Database
from authsvc.stores.sql.schema import metadata

_SETTINGS = text(
    "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')"
)
_UNLOGGED = text(
    "SELECT relname::text FROM pg_class WHERE relpersistence <> 'p' AND relkind IN ('r', 'p')"
    " AND relname = ANY(CAST(:names AS text[])) AND pg_table_is_visible(oid) ORDER BY relname"
).bindparams(bindparam("names"))
_FAULTS = {
    "fsync": "a crash of the machine would lose what was acknowledged, or the database",
    "synchronous_commit": "a crash would lose what was acknowledged a moment before",
    "full_page_writes": "a crash of the machine could leave pages half written",
}


async def weaknesses(database: Database) -> Sequence[str]:
    """Return what is wrong with how the server is set up for us, a sentence each. Raises StoreUnavailable."""
    (values,) = await database.read(_SETTINGS)
    found = [
        f"{name} is off: {fault}"
        for (name, fault), value in zip(_FAULTS.items(), values, strict=True)
        if value == "off"
    ]
    unlogged = await database.read(_UNLOGGED, {"names": list(metadata.tables)})
    return [*found, *(f"table {name} is unlogged: a crash would empty it" for [name] in unlogged)]
