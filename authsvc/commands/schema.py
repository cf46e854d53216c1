"""Owns the check that a database has the schema of this version. Leaves bringing it there to `migrate`."""

from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.stores.migrations import is_at_head


async def check_schema(database_url: str) -> None:
    """Return if the schema is current. Raises CommandFailed saying what to do, StoreUnavailable."""
    if not await is_at_head(database_url):
        raise CommandFailed(
            "the database does not have the schema of this version: run `authsvc migrate` first", REFUSED
        )
