"""Owns the check that this version can work with a database's schema. Leaves bringing it there to `migrate`."""

import structlog

from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.stores.migrations import SchemaState, schema_state

TOO_NEW = (
    "the database has the schema of a newer version, which has taken away what this one needs: run that version, or "
    "restore a backup from before"
)
_log = structlog.get_logger("authsvc")


async def check_schema(database_url: str) -> None:
    """Return if this version can work with the schema. Raises CommandFailed saying what to do, StoreUnavailable."""
    match await schema_state(database_url):
        case SchemaState.OLDER:
            raise CommandFailed(
                "the database does not have the schema of this version: run `authsvc migrate` first", REFUSED
            )
        case SchemaState.TOO_NEW:
            raise CommandFailed(TOO_NEW, REFUSED)
        case SchemaState.NEWER:
            _log.info("the database has the schema of a newer version, which serves this one, too")
