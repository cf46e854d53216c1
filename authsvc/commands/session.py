"""Owns `authsvc session`: seeing a user's sessions and ending them, as an administrator, over AuthService."""

from enum import Enum
from typing import Annotated

import typer

from authsvc.commands.connection import Server, open_server
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.commands.options import Dev, Json, User
from authsvc.commands.output import moment, plain, print_json, print_table, say
from authsvc.commands.user import user_id
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_PAGE = 100

commands = typer.Typer(
    help="List a user's sessions, and end sessions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


class Reason(Enum):
    """Why an administrator ends a session."""

    ADMIN = "admin"
    COMPROMISED = "compromised"


@commands.command("list")
def list_(
    user: User,
    ended: Annotated[bool, typer.Option("--ended", help="List ended sessions, too.")] = False,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """List a user's sessions, newest first."""
    with open_server(dev) as server:
        sessions = _all(server, user_id(server, user), ended)
    if json:
        print_json({"sessions": [plain(session) for session in sessions]})
    else:
        columns = ("id", "client", "created", "last seen", "ended", "address", "device")
        print_table(columns, map(_row, sessions))


@commands.command()
def revoke(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session.")] = "",
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="USER", help="Instead of one session: all of this user's, by name or id."
        ),
    ] = "",
    reason: Annotated[Reason, typer.Option("--reason", help="For the audit log.")] = Reason.ADMIN,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """End a session, or all of a user's, everywhere and at once. What has ended already stays so, and is no error."""
    if bool(session) == bool(user):
        raise CommandFailed("name a session, or a user with --user", WRONG_USE)
    why = resources.RevokeReason.Value(f"REVOKE_REASON_{reason.name}")
    with open_server(dev) as server:
        request = (
            pb.RevokeRequest(session_id=session, reason=why)
            if session
            else pb.RevokeRequest(user_id=user_id(server, user), reason=why)
        )
        response = server.call(server.auth.Revoke, request)
    if json:
        print_json(plain(response))
    else:
        say(f"Sessions ended: {response.revoked_count}.")


def _row(session: resources.Session) -> tuple[str, ...]:
    return (
        session.id,
        session.client_id,
        moment(session.create_time),
        moment(session.last_seen_time, session.HasField("last_seen_time")),
        moment(session.revoke_time, session.HasField("revoke_time")),
        session.device.ip_address,
        session.device.label or session.device.user_agent,
    )


def _all(server: Server, whose: str, ended: bool) -> list[resources.Session]:
    found: list[resources.Session] = []
    token = ""
    while True:
        request = pb.ListSessionsRequest(
            user_id=whose, page_size=_PAGE, page_token=token, include_ended=ended
        )
        page = server.call(server.auth.ListSessions, request)
        found += page.sessions
        token = page.next_page_token
        if not token:
            return found
