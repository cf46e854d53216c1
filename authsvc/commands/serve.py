"""Owns `authsvc serve`: from settings to one process that serves, or several. Leaves their lives to `serving` and
`working`, and their parts to `authsvc.app`.

A server starts as soon as the database answers, and until then says what it waits for. SIGTERM and SIGINT end it: no
new calls, those under way finish, exit status 0. Logs are JSON on standard error.
"""

import asyncio
from typing import Annotated

import typer

from authsvc import logs
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.config import SettingsWrong, read_settings

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def serve(
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="How many processes serve at the one port.")
    ] = 1,
) -> None:
    """Run a server with the settings in the AUTHSVC_… variables, until SIGTERM.

    Whatever is missing or unsafe in them is listed at once, with exit status 2. The database must have the schema of
    this version: `authsvc migrate` sees to it.
    """
    try:
        settings = read_settings()
    except SettingsWrong as error:
        raise CommandFailed(str(error), WRONG_USE) from None
    logs.configure(settings.log_level)
    logs.log_what_nobody_catches()
    # Late: the owner of workers does without gRPC.
    if workers > 1:
        from authsvc.commands.working import serve_with_workers

        asyncio.run(serve_with_workers(settings, workers))
    else:
        from authsvc.commands.serving import serve_alone

        asyncio.run(serve_alone(settings))
