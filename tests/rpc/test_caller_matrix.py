"""Every RPC × every kind of caller × {key or token, certificate}.

Complete by construction: RPCs are walked from the descriptors (`tests.parts.every_rpc`), and each kind of caller must
be there both ways. (Guards: the policy table, and `Authenticate`.)
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from authsvc.core.clock import HOUR, MINUTE
from authsvc.core.grants import ADMIN_SCOPE
from authsvc.core.model import Permission
from authsvc.rpc.policy import methods
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.authority import Authority, Signed, uri
from tests.parts.every_rpc import (
    ADMIN_LISTS,
    CLIENT_LISTS,
    NO_CONNECTION,
    RPCS,
    Metadata,
    let_in,
    outcomes,
    refused_everywhere,
)
from tests.parts.service import ISSUER, PASSWORD, Service, bearer
from tests.parts.tls_service import TlsService, run_tls_service
from tests.rpc.test_callers import unknown_key, wrong_key

_DENIED, _UNKNOWN = "CALLER_NOT_PERMITTED", "CALLER_UNAUTHENTICATED"
_PERMISSIONS = {"web": Permission.LOGIN, "gateway": Permission.INTROSPECT, "root": Permission.ADMIN}
Expected = dict[str, str]


@pytest.fixture
async def tls(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[TlsService]:
    """An instance with a port for everybody and one for clients with certificates."""
    async with run_tls_service(tmp_path, sqlite_url, valkey.url) as running:
        yield running


@dataclass(frozen=True)
class Shown:
    """What a caller shows: `authorization`, a certificate at the port for those, or both."""

    metadata: Metadata = ()
    certificate: Signed | None = None
    mtls: bool = False
    expected: Expected = field(default_factory=dict)


Make = Callable[[TlsService], Awaitable[Shown]]


async def change(service: Service, rpc: str, **request: Any) -> Any:
    """Call AdminService as `root`."""
    message = getattr(admin, f"{rpc}Request")(**request)
    return await getattr(service.admin, rpc)(message, metadata=service.by("root"))


async def named(service: TlsService, client_id: str) -> Signed:
    """A certificate in the name of a client, which is registered under it."""
    name = f"spiffe://shop/{client_id}"
    client = resources.Client(id=client_id, certificate_names=[name])
    await change(service, "UpdateClient", client=client, update_mask={"paths": ["certificate_names"]})
    return service.clients.sign(uri(name))


def nameless(service: TlsService) -> Signed:
    """A certificate of the authority that names no client."""
    return service.clients.sign(uri("spiffe://shop/nobody"))


async def log_in_admin(service: Service, **wanted: Any) -> Any:
    """Log in a user who is an administrator, through a client that is registered for that; the LoginResponse."""
    await service.add_user("ada", [ADMIN_SCOPE])
    created = await change(
        service,
        "CreateClient",
        client_id="console",
        permissions=[resources.PERMISSION_LOGIN],
        audiences=[ISSUER, "orders"],
        scopes=[ADMIN_SCOPE],
    )
    request = pb.LoginRequest(username="ada", password=PASSWORD, **{"audiences": [ISSUER], **wanted})
    return await service.auth.Login(request, metadata=bearer(created.client_key))


async def revoked_client(service: Service) -> Metadata:
    """A key of a client that was revoked."""
    await change(service, "RevokeClient", client_id="gateway")
    return service.by("gateway")


async def replaced_key(service: Service) -> Metadata:
    """A key whose successor's overlap is over."""
    await change(service, "RotateClientKey", client_id="gateway", overlap_seconds=60)
    service.clock.move(MINUTE)
    return service.by("gateway")


def of_client(client_id: str) -> Expected:
    """What a client gets."""
    permission = _PERMISSIONS[client_id]
    return let_in({permission}, _DENIED, **(ADMIN_LISTS if permission is Permission.ADMIN else CLIENT_LISTS))


def _key(client_id: str) -> Make:
    async def make(service: TlsService) -> Shown:
        return Shown(service.by(client_id), expected=of_client(client_id))

    return make


def _named(client_id: str) -> Make:
    async def make(service: TlsService) -> Shown:
        return Shown((), await named(service, client_id), mtls=True, expected=of_client(client_id))

    return make


_USER = let_in(set(), _DENIED)
_ADMIN_USER = let_in({Permission.ADMIN}, _DENIED)
_NOBODY = let_in(set(), "CREDENTIALS_MISSING", **dict.fromkeys(CLIENT_LISTS, "CREDENTIALS_MISSING"))
_NOWHERE = dict.fromkeys(RPCS, NO_CONNECTION)

Credential = Callable[[TlsService], Awaitable[Metadata]]


def _bearer(credential: Credential, expected: Expected) -> tuple[Make, Make]:
    """A token or key alone, and beside the certificate of an administrator: which then must count for nothing."""

    async def alone(service: TlsService) -> Shown:
        return Shown(await credential(service), expected=expected)

    async def beside(service: TlsService) -> Shown:
        certificate = await named(service, "root")
        return Shown(await credential(service), certificate, mtls=True, expected=expected)

    return alone, beside


async def _access_token(service: TlsService) -> Metadata:
    return bearer((await service.login()).tokens.access_token)


async def _session_token(service: TlsService) -> Metadata:
    return bearer((await service.login()).session_token)


async def _expired_access_token(service: TlsService) -> Metadata:
    found = await _access_token(service)
    service.clock.move(6 * MINUTE)
    return found


async def _expired_session_token(service: TlsService) -> Metadata:
    found = await _session_token(service)
    service.clock.move(HOUR)
    return found


async def _revoked_access_token(service: TlsService) -> Metadata:
    login = await service.login()
    await service.revoke(token=login.session_token)
    return bearer(login.tokens.access_token)


async def _revoked_session_token(service: TlsService) -> Metadata:
    login = await service.login()
    await service.revoke(token=login.session_token)
    return bearer(login.session_token)


async def _admins_access_token(service: TlsService) -> Metadata:
    return bearer((await log_in_admin(service)).tokens.access_token)


async def _admins_session_token(service: TlsService) -> Metadata:
    return bearer((await log_in_admin(service)).session_token)


async def _nobody(service: TlsService) -> Shown:
    return Shown(expected=_NOBODY)


async def _nameless(service: TlsService) -> Shown:
    return Shown((), nameless(service), mtls=True, expected=refused_everywhere(_UNKNOWN))


async def _foreign(service: TlsService) -> Shown:
    await named(service, "root")
    foreign = Authority("Clients").sign(uri("spiffe://shop/root"))
    return Shown((), foreign, mtls=True, expected=_NOWHERE)


async def _expired(service: TlsService) -> Shown:
    await named(service, "root")
    expired = service.clients.sign(uri("spiffe://shop/root"), expires_in=timedelta(seconds=-1))
    return Shown((), expired, mtls=True, expected=_NOWHERE)


async def _without(service: TlsService) -> Shown:
    return Shown(service.by("root"), mtls=True, expected=_NOWHERE)


async def _revoked_named(service: TlsService) -> Shown:
    certificate = await named(service, "gateway")
    await change(service, "RevokeClient", client_id="gateway")
    return Shown((), certificate, mtls=True, expected=refused_everywhere(_UNKNOWN))


# Kinds of callers: with a key or a token alone, and with a certificate.
KINDS: dict[str, tuple[Make, Make]] = {
    "nobody": (_nobody, _nameless),
    "without what is asked for": (_nobody, _without),
    "wrong": (_bearer(wrong_key, refused_everywhere(_UNKNOWN))[0], _foreign),
    "wrong key": _bearer(wrong_key, refused_everywhere(_UNKNOWN)),
    "unknown key": _bearer(unknown_key, refused_everywhere(_UNKNOWN)),
    "login": (_key("web"), _named("web")),
    "introspect": (_key("gateway"), _named("gateway")),
    "admin": (_key("root"), _named("root")),
    "expired": (_bearer(replaced_key, refused_everywhere(_UNKNOWN))[0], _expired),
    "expired key": _bearer(replaced_key, refused_everywhere(_UNKNOWN)),
    "revoked": (_bearer(revoked_client, refused_everywhere(_UNKNOWN))[0], _revoked_named),
    "revoked key": _bearer(revoked_client, refused_everywhere(_UNKNOWN)),
    "user by access token": _bearer(_access_token, _USER),
    "user by session token": _bearer(_session_token, _USER),
    "expired access token": _bearer(_expired_access_token, refused_everywhere("ACCESS_TOKEN_EXPIRED")),
    "expired session token": _bearer(_expired_session_token, refused_everywhere(_UNKNOWN)),
    "revoked access token": _bearer(_revoked_access_token, refused_everywhere("ACCESS_TOKEN_REVOKED")),
    "revoked session token": _bearer(_revoked_session_token, refused_everywhere(_UNKNOWN)),
    "admin user by access token": _bearer(_admins_access_token, _ADMIN_USER),
    "admin user by session token": _bearer(_admins_session_token, _ADMIN_USER),
}


def test_every_rpc_has_a_row() -> None:
    """An RPC that the matrix does not know fails here, and nobody can forget one."""
    assert {name.removeprefix("authsvc.v1.") for name in methods()} == set(RPCS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["key or token", "certificate"])
async def test_matrix(tls: TlsService, kind: str, way: str) -> None:
    """Of every RPC a caller gets what their kind may have, and nothing else, whichever way they come."""
    shown = await KINDS[kind][way == "certificate"](tls)

    async with tls.connect(shown.certificate, mtls=shown.mtls) as channel:
        found = await outcomes(channel, shown.metadata)

    assert found == shown.expected


async def test_all_at_once(tls: TlsService) -> None:
    """A client with every permission gets everything, and still is no user."""
    every = [each for each in resources.Permission.values() if each]
    client = resources.Client(id="web", permissions=every)
    await change(tls, "UpdateClient", client=client, update_mask={"paths": ["permissions"]})

    found = await outcomes(tls.channel, tls.by("web"))

    assert found == let_in(set(Permission), "", **ADMIN_LISTS)


async def test_nobody_is_an_administrator_by_chance(tls: TlsService) -> None:
    """The scope alone makes no administrator: the client must be registered for it by name, the token be for authsvc,
    and an access token for nobody else. What is taken from the client counts at once. (Guard: `_administers`.)"""
    await tls.add_user("eve", [ADMIN_SCOPE, "orders.read"])
    through_web = await tls.login("eve")
    console = await log_in_admin(tls)
    shared = await log_in_again(tls, audiences=[ISSUER, "orders"])
    elsewhere = await log_in_again(tls, audiences=["orders"])

    assert list(through_web.session.scopes) == ["orders.read"]
    assert await administers(tls, through_web.session_token) is False
    assert await administers(tls, shared.session_token) is True
    assert await administers(tls, shared.tokens.access_token) is False
    assert await administers(tls, elsewhere.session_token) is False
    assert await administers(tls, elsewhere.tokens.access_token) is False
    assert await administers(tls, console.tokens.access_token) is True
    client = resources.Client(id="console", scopes=["other"])
    await change(tls, "UpdateClient", client=client, update_mask={"paths": ["scopes"]})
    assert await administers(tls, console.tokens.access_token) is False
    assert await administers(tls, console.session_token) is False


async def log_in_again(service: Service, **wanted: Any) -> Any:
    """Log the administrator in once more; the LoginResponse."""
    rotated = await change(service, "RotateClientKey", client_id="console")
    request = pb.LoginRequest(username="ada", password=PASSWORD, **wanted)
    return await service.auth.Login(request, metadata=bearer(rotated.client_key))


async def administers(service: Service, token: str) -> bool:
    """Whether whoever holds this token is let into AdminService."""
    try:
        await service.admin.ListUsers(admin.ListUsersRequest(), metadata=bearer(token))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            return False
        raise
    return True


async def test_an_administrator_is_on_record_by_name(tls: TlsService) -> None:
    """What a user does as an administrator is on record as the user's doing, through the client."""
    login = await log_in_admin(tls)
    request = admin.CreateUserRequest(username="new", password=PASSWORD)
    created = await tls.admin.CreateUser(request, metadata=bearer(login.session_token))

    events = await change(tls, "ListAuditEvents", user_id=created.user.id)

    (event,) = events.events
    assert (event.event, event.actor, event.client_id) == ("user.created", login.session.user_id, "console")


async def test_scopes_that_are_taken_end_sessions(tls: TlsService) -> None:
    """An administrator whose scope is taken away is none from then on: the sessions end with it."""
    login = await log_in_admin(tls)

    response = await change(tls, "SetScopes", user_id=login.session.user_id, scopes=[])

    assert response.revoked_count == 1
    for token in (login.session_token, login.tokens.access_token):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await tls.admin.ListUsers(admin.ListUsersRequest(), metadata=bearer(token))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
