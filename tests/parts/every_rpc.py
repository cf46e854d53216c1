"""Every RPC there is, walked from the descriptors: whom each is for, and how a call of each ends for a caller.

An RPC without a row in `RPCS` fails every test that uses it. Each call sends an empty request, so whoever is let in
gets a harmless answer that tells that they were.
"""

import asyncio
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf import message_factory

from authsvc.core.model import Permission
from authsvc.rpc.policy import methods
from tests.parts.service import reason_of

ANYBODY = "anybody"
JUDGED = "judged"
NO_CONNECTION = "no connection"


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
CLIENT_LISTS = {
    "AuthService/ListSessions": "CALLER_NOT_PERMITTED",
    "AuthService/ListSecurityEvents": "CALLER_NOT_PERMITTED",
    "AuthService/GetSecondFactor": "CALLER_NOT_PERMITTED",
}
ADMIN_LISTS = {**CLIENT_LISTS, "AuthService/ListSessions": _BAD}

Metadata = tuple[tuple[str, str], ...]


async def outcomes(channel: grpc.aio.Channel, metadata: Metadata) -> dict[str, str]:
    """How a call of every RPC there is ends over this channel, with this metadata. All at once: strangers must wait."""
    every = methods()
    found = await asyncio.gather(
        *(_outcome(channel, name, method, metadata) for name, method in every.items())
    )
    return dict(zip((name.removeprefix("authsvc.v1.") for name in every), found, strict=True))


async def _outcome(channel: grpc.aio.Channel, name: str, method: Any, metadata: Metadata) -> str:
    try:
        await _call(channel, name, method, metadata)
    except grpc.aio.AioRpcError as error:
        # Without a word from the server there are no details.
        said = "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
        refused = error.code() is grpc.StatusCode.UNAVAILABLE and not said
        return NO_CONNECTION if refused else reason_of(error)
    return "OK"


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
