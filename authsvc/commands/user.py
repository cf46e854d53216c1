"""Owns `authsvc user`: adding, listing and changing users, over AdminService."""

from typing import Annotated

import typer

from authsvc.commands.connection import Server, open_server
from authsvc.commands.options import Dev, HashStdin, Json, PasswordStdin, Scopes, User
from authsvc.commands.output import moment, plain, print_json, print_line, print_table, say
from authsvc.commands.password import new_secret
from authsvc.core.ids import is_id
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_PAGE = 100

commands = typer.Typer(
    help="Add, list and change users.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@commands.command()
def create(
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="Name to log in with.")],
    scope: Scopes = None,
    password_stdin: PasswordStdin = False,
    password_hash_stdin: HashStdin = False,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Add a user. The password is asked for twice, or read from standard input."""
    with open_server(dev) as server:
        given = new_secret(password_stdin, password_hash_stdin)
        request = pb.CreateUserRequest(
            username=username,
            password=given.password,
            password_hash=given.password_hash,
            scopes=scope or (),
        )
        response = server.call(server.admin.CreateUser, request)
    if json:
        print_json(plain(response))
    else:
        say(f"User {response.user.username} added; the id is on standard output.")
        print_line(response.user.id)


@commands.command("list")
def list_(dev: Dev = None, json: Json = False) -> None:
    """List all users by name."""
    with open_server(dev) as server:
        users = _all(server)
    if json:
        print_json({"users": [plain(user) for user in users]})
        return
    rows = (
        (
            user.username,
            user.id,
            " ".join(user.scopes),
            moment(user.create_time),
            moment(user.disable_time, user.HasField("disable_time")),
        )
        for user in users
    )
    print_table(("username", "id", "scopes", "created", "disabled"), rows)


@commands.command()
def disable(user: User, dev: Dev = None, json: Json = False) -> None:
    """Stop a user's logins and end all their sessions, at once."""
    with open_server(dev) as server:
        request = pb.DisableUserRequest(user_id=user_id(server, user))
        response = server.call(server.admin.DisableUser, request)
    if json:
        print_json(plain(response))
    else:
        say(f"User {response.user.username} disabled; sessions ended: {response.revoked_count}.")


@commands.command()
def enable(user: User, dev: Dev = None, json: Json = False) -> None:
    """Allow a user's logins again. Sessions that were ended stay ended."""
    with open_server(dev) as server:
        request = pb.EnableUserRequest(user_id=user_id(server, user))
        response = server.call(server.admin.EnableUser, request)
    if json:
        print_json(plain(response))
    else:
        say(f"User {response.user.username} enabled.")


@commands.command()
def set_password(
    user: User,
    password_stdin: PasswordStdin = False,
    password_hash_stdin: HashStdin = False,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Replace a user's password and end all their sessions."""
    with open_server(dev) as server:
        found = user_id(server, user)
        given = new_secret(password_stdin, password_hash_stdin)
        request = pb.SetPasswordRequest(
            user_id=found, password=given.password, password_hash=given.password_hash
        )
        response = server.call(server.admin.SetPassword, request)
    if json:
        print_json(plain(response))
    else:
        say(f"Password of {user} replaced; sessions ended: {response.revoked_count}.")


@commands.command()
def set_scopes(user: User, scope: Scopes = None, dev: Dev = None, json: Json = False) -> None:
    """Replace the scopes a user may be granted (none: without `--scope`). If one is taken away, all sessions end.

    The scope `authsvc.admin` makes an administrator, through clients that are registered for it.
    """
    with open_server(dev) as server:
        request = pb.SetScopesRequest(user_id=user_id(server, user), scopes=scope or ())
        response = server.call(server.admin.SetScopes, request)
    if json:
        print_json(plain(response))
    else:
        say(f"Scopes of {response.user.username} replaced; sessions ended: {response.revoked_count}.")


@commands.command()
def reset_second_factor(user: User, dev: Dev = None, json: Json = False) -> None:
    """End a user's second factor and recovery codes, for who has lost both. Their sessions go on."""
    with open_server(dev) as server:
        request = pb.ResetSecondFactorRequest(user_id=user_id(server, user))
        response = server.call(server.admin.ResetSecondFactor, request)
    if json:
        print_json(plain(response))
    elif response.had_second_factor:
        say(f"Second factor of {user} ended; the password alone is enough again.")
    else:
        say(f"{user} has no second factor.")


def user_id(server: Server, user: str) -> str:
    """Return the id of a user given by name or by id. Raises CommandFailed."""
    if is_id(user):
        return user
    return server.call(server.admin.GetUser, pb.GetUserRequest(username=user)).user.id


def _all(server: Server) -> list[resources.User]:
    found: list[resources.User] = []
    token = ""
    while True:
        request = pb.ListUsersRequest(page_size=_PAGE, page_token=token)
        page = server.call(server.admin.ListUsers, request)
        found += page.users
        token = page.next_page_token
        if not token:
            return found
