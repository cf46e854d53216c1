"""Every RPC against every kind of caller, walked from the descriptors: an RPC that `RPCS` does not name fails them all.

Each call sends an empty request, so whoever is let in gets a harmless answer that tells that they were.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc.aio
import pytest
from google.protobuf import message_factory

from authsvc.core.clock import MINUTE
from authsvc.core.model import Permission
from authsvc.core.tokens import TokenMint
from authsvc.rpc.policy import methods
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2
from tests.parts.service import Service, bearer, outcome, run_service

ANYBODY = "anybody"
JUDGED = "judged"


class Rpc(NamedTuple):
    """Whom an RPC is for, and what an empty request gets from it once the caller is let in."""

    needs: Permission | str
    let_in: str


_BAD = "INVALID_REQUEST"
RPCS = {
    "AuthService/Login": Rpc(Permission.LOGIN, _BAD),
    "AuthService/Refresh": Rpc(Permission.LOGIN, _BAD),
    "AuthService/Revoke": Rpc(JUDGED, _BAD),
    "AuthService/ValidateSession": Rpc(Permission.INTROSPECT, _BAD),
    "AuthService/BatchValidateSessions": Rpc(Permission.INTROSPECT, _BAD),
    "AuthService/ExchangeSession": Rpc(Permission.INTROSPECT, _BAD),
    "AuthService/Introspect": Rpc(Permission.INTROSPECT, _BAD),
    "AuthService/ListSessions": Rpc(JUDGED, "OK"),
    "AuthService/ChangePassword": Rpc(JUDGED, _BAD),
    "AuthService/ListSecurityEvents": Rpc(JUDGED, "OK"),
    "AuthService/StepUp": Rpc(Permission.LOGIN, _BAD),
    "AuthService/GetSecondFactor": Rpc(JUDGED, "OK"),
    "AuthService/EnrollTotp": Rpc(JUDGED, _BAD),
    "AuthService/ConfirmTotp": Rpc(JUDGED, _BAD),
    "AuthService/DisableTotp": Rpc(JUDGED, _BAD),
    "AuthService/RegenerateRecoveryCodes": Rpc(JUDGED, _BAD),
    "AuthService/GetKeySet": Rpc(ANYBODY, "OK"),
    "AuthService/Watch": Rpc(Permission.INTROSPECT, "OK"),
    "AdminService/CreateUser": Rpc(Permission.ADMIN, _BAD),
    "AdminService/GetUser": Rpc(Permission.ADMIN, _BAD),
    "AdminService/ListUsers": Rpc(Permission.ADMIN, "OK"),
    "AdminService/SetPassword": Rpc(Permission.ADMIN, _BAD),
    "AdminService/DisableUser": Rpc(Permission.ADMIN, _BAD),
    "AdminService/EnableUser": Rpc(Permission.ADMIN, _BAD),
    "AdminService/SetScopes": Rpc(Permission.ADMIN, _BAD),
    "AdminService/ResetSecondFactor": Rpc(Permission.ADMIN, _BAD),
    "AdminService/CreateClient": Rpc(Permission.ADMIN, _BAD),
    "AdminService/UpdateClient": Rpc(Permission.ADMIN, _BAD),
    "AdminService/ListClients": Rpc(Permission.ADMIN, "OK"),
    "AdminService/RotateClientKey": Rpc(Permission.ADMIN, _BAD),
    "AdminService/RevokeClient": Rpc(Permission.ADMIN, _BAD),
    "AdminService/ListSigningKeys": Rpc(Permission.ADMIN, "OK"),
    "AdminService/RotateSigningKey": Rpc(Permission.ADMIN, "OK"),
    "AdminService/TaintSigningKey": Rpc(Permission.ADMIN, _BAD),
    "AdminService/ListAuditEvents": Rpc(Permission.ADMIN, "OK"),
    "AdminService/ExplainToken": Rpc(Permission.ADMIN, _BAD),
    "envoy.service.auth.v3.Authorization/Check": Rpc(Permission.INTROSPECT, _BAD),
}
# What the rules themselves say to an empty request by somebody who is no user.
_CLIENT_LISTS = {
    "AuthService/ListSessions": "CALLER_NOT_PERMITTED",
    "AuthService/ListSecurityEvents": "CALLER_NOT_PERMITTED",
    "AuthService/GetSecondFactor": "CALLER_NOT_PERMITTED",
}
_ADMIN_LISTS = {**_CLIENT_LISTS, "AuthService/ListSessions": _BAD}

Metadata = tuple[tuple[str, str], ...]


async def outcomes(service: Service, metadata: Metadata) -> dict[str, str]:
    """How a call of every RPC there is ends with this metadata."""
    return {
        name.removeprefix("authsvc.v1."): await outcome(_call(service.channel, name, method, metadata))
        for name, method in methods().items()
    }


async def _call(channel: grpc.aio.Channel, name: str, method: Any, metadata: Metadata) -> None:
    request = message_factory.GetMessageClass(method.input_type)()
    response = message_factory.GetMessageClass(method.output_type)
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(f"/{name}", type(request).SerializeToString, response.FromString)
    made = call(request, metadata=metadata, timeout=5)
    if not method.server_streaming:
        await made
        return
    await made.read()
    made.cancel()


def let_in(permissions: set[Permission], else_: str, **judged: str) -> dict[str, str]:
    """What a caller with these permissions gets: in where they suffice, `else_` elsewhere; `judged` by the rules."""
    allowed = {ANYBODY, JUDGED, *permissions}
    return {name: rpc.let_in if rpc.needs in allowed else else_ for name, rpc in RPCS.items()} | judged


def refused_everywhere(reason: str) -> dict[str, str]:
    """What a caller gets whose `authorization` is no good: nothing, but for what anybody may."""
    return {name: rpc.let_in if rpc.needs == ANYBODY else reason for name, rpc in RPCS.items()}


async def test_nobody(service: Service) -> None:
    """Who sends no `authorization` is told to, may ask what is public, and may revoke a token that they hold."""
    expected = let_in(set(), "CREDENTIALS_MISSING", **dict.fromkeys(_CLIENT_LISTS, "CREDENTIALS_MISSING"))

    assert await outcomes(service, ()) == expected


@pytest.mark.parametrize("client_id", ["web", "gateway", "root"])
async def test_client(service: Service, client_id: str) -> None:
    """A client may do what its own permission says, and no other."""
    permission = {"web": Permission.LOGIN, "gateway": Permission.INTROSPECT, "root": Permission.ADMIN}[
        client_id
    ]
    judged = _ADMIN_LISTS if permission is Permission.ADMIN else _CLIENT_LISTS
    expected = let_in({permission}, "CALLER_NOT_PERMITTED", **judged)

    assert await outcomes(service, service.by(client_id)) == expected


async def test_user_by_access_token(service: Service) -> None:
    """A user has no permission of a client, only what is their own."""
    login = await service.login()
    expected = let_in(set(), "CALLER_NOT_PERMITTED")

    assert await outcomes(service, bearer(login.tokens.access_token)) == expected


async def test_user_by_session_token(service: Service) -> None:
    """A user who calls with a session token may do the same as with an access token."""
    login = await service.login()
    expected = let_in(set(), "CALLER_NOT_PERMITTED")

    assert await outcomes(service, bearer(login.session_token)) == expected


async def test_expired_access_token(service: Service) -> None:
    """An expired access token opens nothing, and its holder is told to refresh."""
    login = await service.login()
    service.clock.move(6 * MINUTE)

    assert await outcomes(service, bearer(login.tokens.access_token)) == refused_everywhere(
        "ACCESS_TOKEN_EXPIRED"
    )


async def test_access_token_of_revoked_session(service: Service) -> None:
    """An access token ends with its session, not only by its own expiry."""
    login = await service.login()
    await service.revoke(token=login.session_token)

    assert await outcomes(service, bearer(login.tokens.access_token)) == refused_everywhere(
        "ACCESS_TOKEN_REVOKED"
    )


async def test_session_token_of_revoked_session(service: Service) -> None:
    """The token of a session that was revoked names no caller."""
    login = await service.login()
    await service.revoke(token=login.session_token)

    assert await outcomes(service, bearer(login.session_token)) == refused_everywhere(
        "CALLER_UNAUTHENTICATED"
    )


async def test_refresh_token(service: Service) -> None:
    """A refresh token renews; it never speaks for anybody."""
    login = await service.login()

    found = await outcomes(service, bearer(login.tokens.refresh_token))

    assert found == refused_everywhere("CALLER_UNAUTHENTICATED")


async def _revoked_key(service: Service) -> Metadata:
    request = admin_service_pb2.RevokeClientRequest(client_id="gateway")
    await service.admin.RevokeClient(request, metadata=service.by("root"))
    return service.by("gateway")


async def _unknown_key(service: Service) -> Metadata:
    """Minted under the deployment's secret, but of no client."""
    return bearer(TokenMint(service.app.settings.secrets, lambda size: bytes(size)).client_key().text)


async def _wrong_key(service: Service) -> Metadata:
    key = service.keys["root"]
    return bearer(key[:-1] + ("A" if key[-1] != "A" else "B"))


async def _twice(service: Service) -> Metadata:
    return service.by("root") * 2


async def _two_callers(service: Service) -> Metadata:
    return service.by("root") + service.by("web")


def _said(value: Callable[[str], str]) -> Callable[[Service], Awaitable[Metadata]]:
    async def make(service: Service) -> Metadata:
        return (("authorization", value(service.keys["root"])),)

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_revoked_key, id="key of a revoked client"),
        pytest.param(_unknown_key, id="key of no client"),
        pytest.param(_wrong_key, id="key with a wrong MAC"),
        pytest.param(_twice, id="authorization twice"),
        pytest.param(_two_callers, id="two authorizations"),
        pytest.param(_said(lambda key: key), id="no scheme"),
        pytest.param(_said(lambda key: f"Basic {key}"), id="other scheme"),
        pytest.param(_said(lambda _: "Bearer "), id="scheme alone"),
        pytest.param(_said(lambda key: f"Bearer{key}"), id="no space"),
        pytest.param(_said(lambda _: ""), id="empty"),
    ],
)
async def test_bad_authorization(service: Service, make: Callable[[Service], Awaitable[Metadata]]) -> None:
    """An `authorization` that names no active caller is refused alike for every reason, never taken for nobody's."""
    metadata = await make(service)

    assert await outcomes(service, metadata) == refused_everywhere("CALLER_UNAUTHENTICATED")


@pytest.mark.parametrize("junk", ["x", "a.b.c", "ey.ey.ey", "atx_AAAA", "Bearer x"])
async def test_junk_bearer(service: Service, junk: str) -> None:
    """What is no token of ours is at best a bad access token."""
    assert await outcomes(service, bearer(junk)) == refused_everywhere("ACCESS_TOKEN_INVALID")


async def test_scheme_ignores_case(service: Service) -> None:
    """`bearer` is `Bearer` (RFC 9110 §11.1)."""
    request = admin_service_pb2.ListUsersRequest()
    metadata = (("authorization", f"bEaReR {service.keys['root']}"),)

    assert await outcome(service.admin.ListUsers(request, metadata=metadata)) == "OK"


async def test_stand_in_of_development(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """In development, who calls from this machine without `authorization` may log in and introspect, not administer."""
    permissions = frozenset({Permission.LOGIN, Permission.INTROSPECT})
    expected = let_in(set(permissions), "CALLER_NOT_PERMITTED", **_CLIENT_LISTS)

    async with run_service(sqlite_url, valkey.url, anonymous=permissions) as service:
        assert await outcomes(service, ()) == expected


async def test_stand_in_is_for_nobody_only(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """In development too, a bad `authorization` is refused and not taken for none."""
    async with run_service(sqlite_url, valkey.url, anonymous=frozenset(Permission)) as service:
        found = await outcomes(service, await _wrong_key(service))

    assert found == refused_everywhere("CALLER_UNAUTHENTICATED")
