"""Owns the command line's front door: `authsvc`, also `python -m authsvc`. Leaves each command to `authsvc.commands`.

A command's room is loaded when that command is run, so that `authsvc --help` is quick.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from authsvc import __version__
from authsvc.commands.failure import CommandFailed

# Each is a module of authsvc.commands with its commands in `commands`.
_ROOMS = {
    "serve": "Run a server, with the settings in AUTHSVC_… variables.",
    "migrate": "Bring the database to the schema of this version.",
    "edge": "Run Envoy before the server, for browsers and the services behind.",
    "health": "Say whether a server takes calls; for probes.",
    "user": "Add, list and change users.",
    "client": "Register, list and revoke clients, and their keys.",
    "session": "List a user's sessions, and end sessions.",
    "key": "List, rotate and distrust signing keys.",
    "explain": "Tell why a token is refused.",
    "audit": "List and follow what happened.",
    "secrets": "Move to another deployment secret.",
}
_HELP = """One login, revocable sessions outside, locally verified JWTs inside.

Start with `authsvc dev`: everything embedded, nothing to set up.

The administration commands (user, client, session, key, explain, audit) call the server at AUTHSVC_ADDRESS as the
client whose key is in AUTHSVC_CLIENT_KEY_FILE, over TLS; AUTHSVC_TLS_CA_FILE may name an authority of your own. Or,
with --dev DIR, the server that `authsvc dev --data DIR` runs.

Exit status: 0 done; 1 refused; 2 wrong use or settings; 3 no answer, try again. That of health: 0 serving; 1 not
serving; 2 no answer.
"""


class _Rooms(TyperGroup):
    """Loads the room of a command once that command is called for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name in _ROOMS:
            room = import_module(f"authsvc.commands.{name}")
            self.add_command(typer.main.get_command(room.commands), name)
        return super().resolve_command(ctx, args)


# Without pretty exceptions: they show local variables, and those may be secrets.
_app = typer.Typer(
    cls=_Rooms,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _not_loaded() -> None:
    """Stands for a command until it is called for."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"authsvc {__version__}")
        raise typer.Exit


@_app.callback()
def _any_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    pass


@_app.command()
def dev(
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where to listen, on loopback. [default: 127.0.0.1:50051]"),
    ] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where to keep everything.")] = Path(".dev"),
    no_tour: Annotated[bool, typer.Option("--no-tour", help="Start without the tour.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End after the tour: 0 only if every step held.")
    ] = False,
) -> None:
    """Run everything embedded on this machine, for trying and developing."""
    from authsvc.commands.dev import dev as run  # late, like the rooms

    raise typer.Exit(run(listen=listen, data=data, tour=not no_tour, once=once))


for _name, _summary in _ROOMS.items():
    _app.command(_name, help=_summary)(_not_loaded)


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit status."""
    # gRPC's core writes lines of its own between our logs and our one clear sentence, unless told so before its import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251  written, not read
    try:
        _app(prog_name="authsvc")
    except CommandFailed as failed:
        print(f"authsvc: {failed}", file=sys.stderr)
        sys.exit(failed.status)


if __name__ == "__main__":
    main()
