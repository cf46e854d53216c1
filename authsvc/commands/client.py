"""Owns `authsvc client`: registering, changing, listing and revoking clients, and their keys, over AdminService.

`create --offline` does without a server, for the first client with `admin`.
"""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from authsvc.commands.connection import Server, open_server
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.commands.key_file import kept
from authsvc.commands.options import Audiences, CertificateNames, ClientId, Dev, Json, KeyFile, Scopes
from authsvc.commands.output import moment, plain, print_json, print_line, print_table, say
from authsvc.core.clock import SECOND
from authsvc.core.model import Permission
from authsvc.settings.kinds import duration_ms
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_PAGE = 100
_PREFIX = "PERMISSION_"


class _List(Enum):
    AUDIENCES = "audiences"
    SCOPES = "scopes"
    CERTIFICATE_NAMES = "certificate-names"


commands = typer.Typer(
    help="Register, change, list and revoke clients, and their keys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@commands.command()
def create(
    client: ClientId,
    permission: Annotated[
        list[Permission],
        typer.Option("--permission", metavar="login|introspect|admin", help="May be repeated."),
    ],
    display_name: Annotated[
        str, typer.Option("--display-name", metavar="TEXT", help="Name for people.")
    ] = "",
    audience: Audiences = None,
    scope: Scopes = None,
    certificate_name: CertificateNames = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Make no key: it calls with a certificate alone.")
    ] = False,
    key_file: KeyFile = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Without a server: on AUTHSVC_DATABASE_URL, with AUTHSVC_SECRET_KEYS_FILE.",
        ),
    ] = False,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Register a client and show its key, this once."""
    if without_key and key_file is not None:
        raise CommandFailed("--without-key and --key-file exclude each other", WRONG_USE)
    if offline and dev is not None:
        raise CommandFailed("--offline and --dev exclude each other", WRONG_USE)
    request = pb.CreateClientRequest(
        client_id=client,
        display_name=display_name,
        permissions=_numbers(permission),
        audiences=audience or (),
        scopes=scope or (),
        certificate_names=certificate_name or (),
        without_key=without_key,
    )
    with kept(key_file, replace=False) as keep:
        response = _create_offline(request) if offline else _create(request, dev)
        keep(response.client_key)
    if without_key and not json:
        say(f"Client {client} registered, without a key.")
    else:
        _show_key(f"Client {client} registered", response, key_file, json)


@commands.command()
def update(
    client: ClientId,
    permission: Annotated[
        list[Permission] | None,
        typer.Option("--permission", metavar="login|introspect|admin", help="May be repeated."),
    ] = None,
    display_name: Annotated[
        str | None, typer.Option("--display-name", metavar="TEXT", help="Name for people.")
    ] = None,
    audience: Audiences = None,
    scope: Scopes = None,
    certificate_name: CertificateNames = None,
    clear: Annotated[
        list[_List] | None,
        typer.Option("--clear", metavar="audiences|scopes|certificate-names", help="Leave none of these."),
    ] = None,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Replace what is given of a client's registration, and leave the rest. What is taken away counts at once."""
    values = {
        "display_name": display_name,
        "permissions": _numbers(permission),
        "audiences": audience,
        "scopes": scope,
        "certificate_names": certificate_name,
    }
    given: dict[str, Any] = {part: value for part, value in values.items() if value is not None}
    cleared: dict[str, Any] = {each.value.replace("-", "_"): () for each in clear or ()}
    if given.keys() & cleared.keys():
        raise CommandFailed("--clear excludes new values of the same kind", WRONG_USE)
    request = pb.UpdateClientRequest(client=resources.Client(id=client, **given, **cleared))
    request.update_mask.paths.extend([*given, *cleared])
    with open_server(dev) as server:
        response = server.call(server.admin.UpdateClient, request)
    if json:
        print_json(plain(response))
    else:
        say(f"Client {client} changed.")


@commands.command("list")
def list_(dev: Dev = None, json: Json = False) -> None:
    """List all clients by id."""
    with open_server(dev) as server:
        clients = _all(server)
    if json:
        print_json({"clients": [plain(client) for client in clients]})
    else:
        columns = (
            *("id", "permissions", "audiences", "scopes", "certificate names", "created", "revoked"),
            "name",
        )
        print_table(columns, map(_row, clients))


@commands.command()
def rotate_key(
    client: ClientId,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="DURATION", help="How long older keys stay good: 0s, 1h, 7d, at most 30d."
        ),
    ] = "0s",
    key_file: KeyFile = None,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """Give a client a new key and show it, this once. Older keys end now, unless an overlap is asked for."""
    request = pb.RotateClientKeyRequest(client_id=client, overlap_seconds=_seconds(overlap))
    with kept(key_file, replace=True) as keep, open_server(dev) as server:
        response = server.call(server.admin.RotateClientKey, request)
        keep(response.client_key)
    _show_key(f"Client {client} has a new key; older ones end in {overlap}", response, key_file, json)


@commands.command()
def revoke(client: ClientId, dev: Dev = None, json: Json = False) -> None:
    """End a client: its keys are refused at once, its sessions can no longer be refreshed."""
    with open_server(dev) as server:
        response = server.call(server.admin.RevokeClient, pb.RevokeClientRequest(client_id=client))
    if json:
        print_json(plain(response))
    else:
        say(f"Client {client} revoked.")


def _numbers(permissions: list[Permission] | None) -> "list[resources.Permission.ValueType] | None":
    if permissions is None:
        return None
    return [resources.Permission.Value(_PREFIX + each.name) for each in permissions]


def _create(request: pb.CreateClientRequest, dev: Path | None) -> pb.CreateClientResponse:
    with open_server(dev) as server:
        return server.call(server.admin.CreateClient, request)


def _create_offline(request: pb.CreateClientRequest) -> pb.CreateClientResponse:
    from authsvc.commands import offline  # late: it loads what a server is made of

    return offline.create_client(request)


def _show_key(
    what: str,
    response: pb.CreateClientResponse | pb.RotateClientKeyResponse,
    key_file: Path | None,
    json: bool,
) -> None:
    """Show the key, unless it is in a file already."""
    where = "is on standard output" if key_file is None else f"is in {key_file}"
    if json:
        shown = plain(response)
        if key_file is not None:
            shown["client_key"] = ""
        print_json(shown)
        return
    say(f"{what}; the key {where} and is not shown again.")
    if key_file is None:
        print_line(response.client_key)


def _row(client: resources.Client) -> tuple[str, ...]:
    permissions = [
        resources.Permission.Name(each).removeprefix(_PREFIX).lower() for each in client.permissions
    ]
    return (
        client.id,
        " ".join(permissions),
        " ".join(client.audiences),
        " ".join(client.scopes),
        " ".join(client.certificate_names),
        moment(client.create_time),
        moment(client.revoke_time, client.HasField("revoke_time")),
        client.display_name,
    )


def _seconds(overlap: str) -> int:
    try:
        return int(str(duration_ms(overlap))) // SECOND
    except ValueError as error:
        raise CommandFailed(f"--overlap {error}", WRONG_USE) from None


def _all(server: Server) -> list[resources.Client]:
    found: list[resources.Client] = []
    token = ""
    while True:
        request = pb.ListClientsRequest(page_size=_PAGE, page_token=token)
        page = server.call(server.admin.ListClients, request)
        found += page.clients
        token = page.next_page_token
        if not token:
            return found
