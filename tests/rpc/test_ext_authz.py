"""Envoy's question about a request, over gRPC and without Envoy: what tokens services get, and for how long."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from authsvc.core import edge_tokens
from authsvc.core.clock import MINUTE
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import SESSION
from authsvc.envoy import authorization_service_pb2 as envoy
from authsvc.envoy import authorization_service_pb2_grpc
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.strict.compact import split
from authsvc_client.strict.jws import read_header
from tests.parts.service import PASSWORD, Service, outcome

WISHES = {"audience": "orders"}


def asking(wishes: dict[str, str] = WISHES, **headers: str) -> envoy.CheckRequest:
    """A question about a GET."""
    request = envoy.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "GET", "/orders/1"
    http.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    request.attributes.context_extensions.update(wishes)
    return request


async def check(
    service: Service, request: envoy.CheckRequest, client_id: str = "gateway"
) -> envoy.CheckResponse:
    """Ask as an edge does."""
    stub: Any = authorization_service_pb2_grpc.AuthorizationStub(service.channel)
    response: envoy.CheckResponse = await stub.Check(request, metadata=service.by(client_id))
    return response


async def token(service: Service, session_token: str, **wishes: str) -> str:
    """The JWT that a service gets for a session."""
    response = await check(service, asking({**WISHES, **wishes}, cookie=f"{SESSION}={session_token}"))
    headers = dict(pairs(response.ok_response.headers))
    return headers["authorization"].removeprefix("Bearer ")


def pairs(headers: Any) -> Iterator[tuple[str, str]]:
    """Names and values."""
    for each in headers:
        yield each.header.key, each.header.value


def said(response: envoy.CheckResponse) -> tuple[int, str]:
    """The HTTP status of a refusal, and its reason."""
    denied = response.denied_response
    return denied.status.code, json.loads(denied.body)["details"][0]["reason"]


async def test_a_token_is_used_until_it_nears_its_end(service: Service) -> None:
    """Whoever asks again gets the same JWT while three quarters of its life are not over, and then another."""
    service.clock.stop()
    login = await service.login()

    first = await token(service, login.session_token)
    service.clock.move(3 * MINUTE)
    same = await token(service, login.session_token)
    service.clock.move(MINUTE)
    other = await token(service, login.session_token)

    assert first == same
    assert other != first


async def test_every_wish_has_its_token(service: Service) -> None:
    """A token for one service, or with some scopes, is never handed to another."""
    login = await service.login()

    tokens = {
        await token(service, login.session_token),
        await token(service, login.session_token, audience="billing"),
        await token(service, login.session_token, scopes="orders.read"),
    }

    assert len(tokens) == 3


async def test_after_a_revocation(service: Service) -> None:
    """The token that is ready is not handed out once its session has ended."""
    login = await service.login()
    await token(service, login.session_token)
    await service.revoke(token=login.session_token)

    response = await check(service, asking(cookie=f"{SESSION}={login.session_token}"))

    assert said(response) == (401, "SESSION_NOT_ACTIVE")


async def test_after_a_step_up(service: Service) -> None:
    """What is known of the user since is in the next token."""
    service.clock.stop()
    login = await service.login()
    before = await token(service, login.session_token)
    service.clock.move(MINUTE)
    request = pb.StepUpRequest(token=login.session_token, password=PASSWORD)
    stepped_up = await service.auth.StepUp(request, metadata=service.by("web"))

    after = await token(service, stepped_up.session_token)

    introspected = [await service.introspect(each) for each in (before, after)]
    assert [each.auth_time for each in introspected] != [introspected[0].auth_time] * 2


async def test_distrusted_key(service: Service) -> None:
    """A token whose key is distrusted is not handed out again, from that very moment."""
    login = await service.login()
    text = await token(service, login.session_token)
    key_id = str(read_header(split(text).header)["kid"])
    request = admin.TaintSigningKeyRequest(key_id=key_id)
    await service.admin.TaintSigningKey(request, metadata=service.by("root"))

    after = await token(service, login.session_token)

    assert read_header(split(after).header)["kid"] != key_id


async def test_what_a_client_loses_counts_at_once(service: Service) -> None:
    """A client that may no longer have an audience gets nobody in there, token ready or not."""
    login = await service.login()
    await token(service, login.session_token)
    request = admin.UpdateClientRequest(client=resources.Client(id="web", audiences=["billing"]))
    request.update_mask.paths.append("audiences")
    await service.admin.UpdateClient(request, metadata=service.by("root"))

    response = await check(service, asking(cookie=f"{SESSION}={login.session_token}"))

    assert said(response) == (403, "CALLER_NOT_PERMITTED")


async def test_memory_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sessions come, only so many tokens are kept ready, the newest ones."""
    monkeypatch.setattr(edge_tokens, "READY_MAX", 2)
    sessions = [(await service.login()).session_token for _ in range(3)]
    first = [await token(service, each) for each in sessions]

    again = [await token(service, each) for each in reversed(sessions)]

    assert [old == new for old, new in zip(reversed(first), again, strict=True)] == [True, True, False]


async def test_nothing_is_known(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell, nobody is let in; the answer says when to ask again, and never that somebody is out."""

    async def down(*_: object) -> None:
        raise StoreUnavailable

    login = await service.login()
    monkeypatch.setattr(type(service.app.cache.sessions), "validate", down)
    monkeypatch.setattr(type(service.app.stores.sessions), "get_by_session_hash", down)

    response = await check(service, asking(cookie=f"{SESSION}={login.session_token}"))

    assert said(response) == (503, "DEPENDENCY_UNAVAILABLE")
    assert dict(pairs(response.denied_response.headers))["retry-after"] == "1"


@pytest.mark.parametrize(
    ("method", "upgrade", "status"),
    [("GET", "", 200), ("HEAD", "", 200), ("OPTIONS", "", 200), ("GET", "websocket", 403), ("POST", "", 403)]
    + [(method, "", 403) for method in ("PUT", "DELETE", "PATCH", "TRACE", "get", "QUERY")],
)
async def test_what_needs_an_origin(service: Service, method: str, upgrade: str, status: int) -> None:
    """With a cookie whatever may change anything needs to show where it began: opening a WebSocket, too."""
    request = asking(cookie=f"{SESSION}={(await service.login()).session_token}")
    http = request.attributes.request.http
    http.method, http.headers["upgrade"] = method, upgrade

    response = await check(service, request)

    assert (response.denied_response.status.code or 200) == status


async def test_grpc_callers_get_a_sentence(service: Service) -> None:
    """What Envoy makes a gRPC status of is a sentence, not JSON."""
    response = await check(service, asking(content_type="application/grpc"))

    assert response.denied_response.body.startswith("The call needs `authorization`")


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"audience": ""},
        {"audience": "orders", "colour": "red"},
        {"audience": "orders", "mode": "neither"},
        {"audience": "orders", "optional": "yes"},
        {"audience": "orders", "login": "https://evil.example"},
        {"audience": "orders", "login": "//evil.example"},
    ],
)
async def test_wishes_that_make_no_sense(service: Service, wishes: dict[str, str]) -> None:
    """A route that cannot be understood ends the call: Envoy lets nobody through then."""
    assert await outcome(check(service, asking(wishes))) == "INVALID_REQUEST"
