"""Owns `authsvc migrate`: the schema to its newest step. Leaves the steps to `authsvc.stores.migrations`."""

import asyncio

import typer

from authsvc import logs
from authsvc.commands.connection import read
from authsvc.commands.failure import NO_ANSWER, REFUSED, CommandFailed
from authsvc.commands.options import Json
from authsvc.commands.output import print_json, say
from authsvc.commands.schema import TOO_NEW
from authsvc.config import read_database_settings
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.migrations import SchemaState, schema_state, upgrade_to_head

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def migrate(json: Json = False) -> None:
    """Bring the database of AUTHSVC_DATABASE_URL to the schema of this version.

    Needs no other setting. Safe to run from many hosts at once, and again: then there is nothing to do.
    """
    logs.configure_for_terminal()
    database_url = read(read_database_settings).database_url.get_secret_value()
    try:
        changed = asyncio.run(_migrate(database_url))
    except StoreUnavailable as error:
        raise CommandFailed(f"the database did not answer: {error.__cause__}", NO_ANSWER) from None
    if json:
        print_json({"changed": changed})
    else:
        say("The schema is up to date now." if changed else "The schema was up to date.")


async def _migrate(database_url: str) -> bool:
    """Whether anything had to be done. A newer schema is left as it is: it serves this version, too, or never will."""
    state = await schema_state(database_url)
    if state is SchemaState.TOO_NEW:
        raise CommandFailed(TOO_NEW, REFUSED)
    if state is not SchemaState.OLDER:
        return False
    await upgrade_to_head(database_url)
    return True
