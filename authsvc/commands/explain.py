"""Owns `authsvc explain`: why a token is refused, over AdminService.

The token comes on standard input, never as an argument.
"""

import sys
from getpass import getpass
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.commands.connection import open_server
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.commands.options import Dev, Json
from authsvc.commands.output import moment, plain, print_json, print_line
from authsvc.v1 import admin_service_pb2 as pb

# More than any token; who pipes in something else is told so by the server.
_MOST_BYTES = 16_384

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def explain(
    audience: Annotated[
        str, typer.Option("--audience", metavar="AUDIENCE", help="What the refusing service expects.")
    ] = "",
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Tell what is wrong with a token of any kind, which is read from the first line of standard input.

    Run it where the token is refused: then a clock that is wrong there shows. The token is neither used up nor kept
    alive by this. The exit status is 0 whatever there is to tell.
    """
    request = pb.ExplainTokenRequest(token=_token(), audience=audience, verifier_time=_now())
    with open_server(dev) as server:
        found = server.call(server.admin.ExplainToken, request)
    if json:
        print_json(plain(found))
        return
    for line in _lines(found):
        print_line(line)


def _token() -> str:
    if sys.stdin.isatty():
        return getpass("Token: ").strip()
    try:
        token = sys.stdin.buffer.readline(_MOST_BYTES).decode().strip()
    except UnicodeDecodeError:
        raise CommandFailed("the token on standard input is not UTF-8", WRONG_USE) from None
    if not token:
        raise CommandFailed("there is no token on standard input", WRONG_USE)
    return token


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now


def _lines(found: pb.ExplainTokenResponse) -> list[str]:
    lines = list(found.findings)
    if found.active:
        until = f" until {moment(found.expire_time)}" if found.HasField("expire_time") else ""
        lines.insert(0, f"The token is good{until}.")
    of = {
        "kind": found.token_type,
        "session": found.session_id,
        "user": found.user_id,
        "client": found.client_id,
        "key": found.key_id,
    }
    return lines + [f"{name}: {value}" for name, value in of.items() if value]
