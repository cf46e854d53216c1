"""Every place where a token can be presented, found by walking the contract; and what each says to a token.

A place is a field `Service/Method.field`, `authorization`, a cookie, or a header that an edge asks about. A field that
is new appears here by itself.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import grpc.aio
from google.protobuf import message_factory

from authsvc.core.cookies import DEVICE, REFRESH, SESSION
from authsvc.core.model import Permission
from authsvc.envoy import authorization_service_pb2 as envoy
from authsvc.rpc.policy import POLICY, methods
from authsvc.v1 import admin_service_pb2
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import PASSWORD, Service, bearer, reason_of

GOOD = "good"
AUTHORIZATION = "authorization"
COOKIES = {
    "cookie of the session": SESSION,
    "cookie of the refresh token": REFRESH,
    "cookie of the device": DEVICE,
}
EDGE = ("authorization at an edge", "cookie at an edge")
# Fields that sound like one and hold no token.
_HARMLESS = {"page_token", "next_page_token", "token_type_hint"}
# What else a request needs for its token to be looked at.
_BESIDES: dict[str, dict[str, str]] = {
    "AuthService/Login.challenge_token": {"one_time_code": "000000"},
    "AuthService/Login.device_token": {"username": "bob", "password": PASSWORD},
    "AuthService/StepUp.token": {"password": PASSWORD},
}
_CALLERS = {Permission.LOGIN: "web", Permission.INTROSPECT: "gateway", Permission.ADMIN: "root"}


def fields() -> Iterator[str]:
    """Every field of a request that takes a token, as `Service/Method.field`."""
    for name, method in methods().items():
        for field in method.input_type.fields:
            if (
                name.startswith("authsvc.v1.")
                and field.name.rstrip("s").endswith("token")
                and field.name not in _HARMLESS
            ):
                yield f"{name.removeprefix('authsvc.v1.')}.{field.name}"


PLACES = (*fields(), AUTHORIZATION, *COOKIES, *EDGE)


async def present(service: Service, place: str, token: str, **besides: str) -> str:
    """Present a token; return GOOD, `inactive` for a quiet no, or the reason of the refusal."""
    try:
        return await _present(service, place, token, besides)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)


async def _present(service: Service, place: str, token: str, besides: dict[str, str]) -> str:
    if place == AUTHORIZATION:
        return await _as_authorization(service, token)
    if place in COOKIES:
        return await _as_cookie(service, COOKIES[place], token)
    if place in EDGE:
        return await _at_an_edge(service, place, token)
    rpc, _, field = place.partition(".")
    method = methods()[f"authsvc.v1.{rpc}"]
    value: Any = [token] if method.input_type.fields_by_name[field].is_repeated else token
    request = message_factory.GetMessageClass(method.input_type)(
        **{field: value, **_BESIDES.get(place, {}), **besides}
    )
    needs = POLICY[f"authsvc.v1.{rpc}"].needs
    caller = _CALLERS.get(needs, "web") if isinstance(needs, Permission) else "web"
    stub: Any = service.auth if rpc.startswith("AuthService/") else service.admin
    return _verdict(await getattr(stub, method.name)(request, metadata=service.by(caller)), token, place)


def _verdict(response: Any, token: str, place: str) -> str:
    """What an answer says that is OK whatever the token is worth."""
    match response:
        case pb.LoginResponse() if "device" in place:
            good = _is_same_device(response.device_token, token)
        case pb.BatchValidateSessionsResponse():
            good = response.results[0].active
        case pb.IntrospectResponse():
            good = response.active
            assert good or response == pb.IntrospectResponse()
        case pb.RevokeResponse():
            good = bool(response.revoked_count)
        case _:
            good = getattr(response, "active", True)
    return GOOD if good else "inactive"


async def _as_authorization(service: Service, token: str) -> str:
    """Whoever is known may or may not list users; whoever is not gets another refusal."""
    try:
        await service.admin.ListUsers(admin_service_pb2.ListUsersRequest(), metadata=bearer(token))
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "CALLER_NOT_PERMITTED":
            raise
    return GOOD


def _is_same_device(given: str, presented: str) -> bool:
    """Whether a login renewed the credential that was presented, and did not make another."""
    try:
        ids = [base64.urlsafe_b64decode(text.removeprefix("atd_"))[17:25] for text in (given, presented)]
    except (binascii.Error, ValueError):
        return False
    return ids[0] == ids[1] and presented.startswith("atd_")


async def _as_cookie(service: Service, name: str, token: str) -> str:
    cookie = (("cookie", f"{name}={token}"),)
    if name == REFRESH:
        await service.auth.Refresh(pb.RefreshRequest(), metadata=service.by("web") + cookie)
    elif name == SESSION:
        request = pb.ValidateSessionRequest()
        await service.auth.ValidateSession(request, metadata=service.by("gateway") + cookie)
    else:
        login = pb.LoginRequest(username="bob", password=PASSWORD)
        response = await service.auth.Login(login, metadata=service.by("web") + cookie)
        return _verdict(response, token, name)
    return GOOD


async def _at_an_edge(service: Service, place: str, token: str) -> str:
    """Ask what Envoy asks of a request that brings the token along; a no is an answer there."""
    request = envoy.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "GET", "/orders"
    given = (
        {"authorization": f"Bearer {token}"} if "authorization" in place else {"cookie": f"{SESSION}={token}"}
    )
    http.headers.update(given)
    request.attributes.context_extensions.update({"audience": "orders"})
    check: Any = service.channel.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        envoy.CheckRequest.SerializeToString,
        envoy.CheckResponse.FromString,
    )
    response = await check(request, metadata=service.by("gateway"))
    return GOOD if response.WhichOneof("http_response") == "ok_response" else "inactive"
