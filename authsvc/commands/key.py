"""Owns `authsvc key`: seeing, rotating and distrusting signing keys, over AdminService."""

from typing import Annotated

import typer

from authsvc.commands.connection import Server, open_server
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.commands.options import Dev, Json
from authsvc.commands.output import moment, plain, print_json, print_table, say
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_PREFIX = "SIGNING_KEY_STATE_"
# In the order in which to distrust all: the active one last, so that nothing tainted takes its place.
_BELIEVED = (
    resources.SIGNING_KEY_STATE_RETIRING,
    resources.SIGNING_KEY_STATE_PREPARED,
    resources.SIGNING_KEY_STATE_ACTIVE,
)

commands = typer.Typer(
    help="List, rotate and distrust signing keys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@commands.command("list")
def list_(dev: Dev = None, json: Json = False) -> None:
    """List all signing keys, newest first."""
    with open_server(dev) as server:
        keys = _all(server)
    if json:
        print_json({"keys": [plain(key) for key in keys]})
    else:
        columns = ("id", "algorithm", "state", "made", "signs from", "stopped", "tainted")
        print_table(columns, map(_row, keys))


@commands.command()
def rotate(dev: Dev = None, json: Json = False) -> None:
    """Let the next key sign: now if it has been published for ten minutes, else as soon as it has."""
    with open_server(dev) as server:
        key = server.call(server.admin.RotateSigningKey, pb.RotateSigningKeyRequest()).key
    if json:
        print_json({"key": plain(key)})
    elif key.state == resources.SIGNING_KEY_STATE_ACTIVE:
        say(f"Key {key.key_id} signs now.")
    else:
        say(f"Key {key.key_id} will sign from {moment(key.activate_time)}; until then verifiers learn it.")


@commands.command()
def taint(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key (`kid`).")] = "",
    every: Annotated[
        bool,
        typer.Option("--all", help="Instead of one key: every key that is believed; fresh ones take over."),
    ] = False,
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for the audit log.")] = "",
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Distrust a key everywhere, at once: tokens that it signed are refused, and another key signs.

    Where the database and the deployment secret may both be known to somebody, the prepared key is too: use --all.
    """
    if bool(key) == every:
        raise CommandFailed("name a key, or all of them with --all", WRONG_USE)
    with open_server(dev) as server:
        tainted = {each: _taint(server, each, comment) for each in (_believed(server) if every else [key])}
    if json:
        print_json({"keys": [{"key_id": each, "revision": str(at)} for each, at in tainted.items()]})
    else:
        for each, revision in tainted.items():
            say(f"Key {each} is tainted, at revision {revision}.")


def _taint(server: Server, key_id: str, comment: str) -> int:
    request = pb.TaintSigningKeyRequest(key_id=key_id, comment=comment)
    return server.call(server.admin.TaintSigningKey, request).revision


def _believed(server: Server) -> list[str]:
    keys = [key for key in _all(server) if key.state in _BELIEVED]
    return [key.key_id for key in sorted(keys, key=lambda key: _BELIEVED.index(key.state))]


def _all(server: Server) -> list[resources.PublicKey]:
    return list(server.call(server.admin.ListSigningKeys, pb.ListSigningKeysRequest()).keys)


def _row(key: resources.PublicKey) -> tuple[str, ...]:
    return (
        key.key_id,
        key.algorithm,
        resources.SigningKeyState.Name(key.state).removeprefix(_PREFIX).lower(),
        moment(key.create_time),
        moment(key.activate_time, key.HasField("activate_time")),
        moment(key.retire_time, key.HasField("retire_time")),
        moment(key.taint_time, key.HasField("taint_time")),
    )
