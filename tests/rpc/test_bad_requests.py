"""Requests with something wrong in them: each is refused naming the field, and leaves no trace."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from sqlalchemy import select

from authsvc.stores.sql.schema import metadata
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import Device
from tests.parts.service import PASSWORD, Service, bearer, fields_of, reason_of, refusal

ID = "00000000-0000-4000-8000-000000000000"
UNPRINTABLE = ["nul\0", "line\nbreak", "bell\a", "delete\x7f"]
# None of these was ever given out as a page token.
PAGE_TOKENS = [
    "x",
    "!!!!",
    "é",
    "A" * 100,
    base64.urlsafe_b64encode(b"[]").decode(),
    base64.urlsafe_b64encode(b"null").decode(),
    base64.urlsafe_b64encode(b"{}").decode(),
    base64.urlsafe_b64encode(b'[["a"]]').decode(),
    base64.urlsafe_b64encode(b"[1, 2]").decode(),
    base64.urlsafe_b64encode(b"[1]").decode(),
    base64.urlsafe_b64encode(b'["a", "b", "c"]').decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    base64.urlsafe_b64encode(b"[" * 30_000).decode(),
    base64.urlsafe_b64encode(b"[" + b"1" * 5_000 + b"]").decode(),
]


class Bad(NamedTuple):
    """A request, who sends it, and the field that is wrong."""

    rpc: str
    request: Message
    field: str
    caller: str = ""


def _login(**changes: Any) -> pb.LoginRequest:
    return pb.LoginRequest(**{"username": "alice", "password": PASSWORD, **changes})


def bad_logins() -> Iterator[tuple[pb.LoginRequest, str]]:
    """LoginRequests with one thing wrong, and the field that it is in."""
    yield _login(username=""), "username"
    yield _login(username="a" * 257), "username"
    yield _login(username="é" * 129), "username"
    yield _login(password="a" * 1025), "password"
    yield _login(password="é" * 513), "password"
    yield _login(device=Device(ip_address="1" * 65)), "device.ip_address"
    yield _login(device=Device(user_agent="a" * 513)), "device.user_agent"
    yield _login(device=Device(label="a" * 129)), "device.label"
    yield _login(credentials=[0]), "credentials"
    yield _login(credentials=[1, 99]), "credentials"
    yield _login(audiences=["unheard-of"]), "audiences"
    yield _login(scopes=["unheard.of"]), "scopes"
    for field in ("audiences", "scopes"):
        yield _login(**{field: ["orders"] * 65}), field
        yield _login(**{field: [""]}), field
        yield _login(**{field: ["a" * 129]}), field
    for text in UNPRINTABLE:
        yield _login(username=text), "username"
        yield _login(device=Device(user_agent=text)), "device.user_agent"
        yield _login(device=Device(label=text)), "device.label"
        yield _login(device=Device(ip_address=text)), "device.ip_address"
        yield _login(audiences=[text]), "audiences"
        yield _login(scopes=[text]), "scopes"


def bad_requests_of_auth_service() -> Iterator[Bad]:
    """Requests of AuthService with one thing wrong."""
    yield from (Bad("Login", request, field, "web") for request, field in bad_logins())
    for text in ("", "a" * 4097, *UNPRINTABLE):
        yield Bad("Refresh", pb.RefreshRequest(refresh_token=text), "refresh_token", "web")
        yield Bad(
            "ExchangeSession", pb.ExchangeSessionRequest(session_token=text), "session_token", "gateway"
        )
        yield Bad("Revoke", pb.RevokeRequest(token=text), "token", "web")
    for text in ("", "a" * 65, *UNPRINTABLE):
        yield Bad("Revoke", pb.RevokeRequest(session_id=text), "session_id", "root")
        yield Bad("Revoke", pb.RevokeRequest(user_id=text), "user_id", "root")
    yield Bad("Refresh", pb.RefreshRequest(refresh_token="x", scopes=[""]), "scopes", "web")
    yield Bad("Refresh", pb.RefreshRequest(refresh_token="x", audiences=["a\0"]), "audiences", "web")
    yield Bad(
        "ExchangeSession",
        pb.ExchangeSessionRequest(session_token="x", scopes=["s"] * 65),
        "scopes",
        "gateway",
    )
    yield Bad("Revoke", pb.RevokeRequest(), "target", "web")
    yield Bad("Revoke", pb.RevokeRequest(other_sessions=False), "target", "web")
    for number in (99, -1):
        request = pb.RevokeRequest(token="x", reason=number)  # type: ignore[arg-type]  # that is what is wrong
        yield Bad("Revoke", request, "reason", "web")
    for reserved in (3, 4, 5, 6, 7):
        request = pb.RevokeRequest(token="x", reason=reserved)  # type: ignore[arg-type]
        yield Bad("Revoke", request, "reason", "web")
    yield Bad("ValidateSession", pb.ValidateSessionRequest(), "session_token", "gateway")
    yield Bad("BatchValidateSessions", pb.BatchValidateSessionsRequest(), "session_tokens", "gateway")
    many = pb.BatchValidateSessionsRequest(session_tokens=["x"] * 257)
    yield Bad("BatchValidateSessions", many, "session_tokens", "gateway")
    yield Bad("Introspect", pb.IntrospectRequest(), "token", "gateway")
    for field in ("current_password", "new_password"):
        for text in ("", "é" * 513):
            passwords = {"current_password": PASSWORD, "new_password": PASSWORD, field: text}
            yield Bad("ChangePassword", pb.ChangePasswordRequest(**passwords), field, "web")
    yield Bad("Watch", pb.WatchRequest(from_revision=-1), "from_revision", "gateway")
    for kind in ("ValidateSession", "BatchValidateSessions", "ExchangeSession", "Introspect"):
        request = getattr(pb, kind + "Request")(min_revision=-1)
        yield Bad(kind, request, "min_revision", "gateway")
    for user_id in ("x", "ABCDEF00-0000-4000-8000-000000000000", ID[:-1], "\0", "a" * 1000):
        yield Bad("ListSessions", pb.ListSessionsRequest(user_id=user_id), "user_id", "root")
    yield from _pages("ListSessions", lambda **page: pb.ListSessionsRequest(user_id=ID, **page))
    for place in (["x", ID], ["1", "x"], ["9" * 16, ID], ["-1", ID]):
        token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
        yield Bad("ListSessions", pb.ListSessionsRequest(user_id=ID, page_token=token), "page_token", "root")


def _pages(rpc: str, request: Any) -> Iterator[Bad]:
    for size in (-1, 101, 2**31 - 1, -(2**31)):
        yield Bad(rpc, request(page_size=size), "page_size", "root")
    for token in PAGE_TOKENS:
        yield Bad(rpc, request(page_token=token), "page_token", "root")


def bad_requests_of_admin_service() -> Iterator[Bad]:
    """Requests of AdminService with one thing wrong."""
    for name in ("", " alice", "alice ", "a" * 257, "zero\u200bwidth", "\u202ebackwards", *UNPRINTABLE):
        yield Bad("CreateUser", admin.CreateUserRequest(username=name, password=PASSWORD), "username")
    for scope in ("", "a b", "é", 'quote"', "back\\slash", "a" * 129, "nul\0"):
        yield Bad(
            "CreateUser", admin.CreateUserRequest(username="bob", password=PASSWORD, scopes=[scope]), "scopes"
        )
    yield Bad("GetUser", admin.GetUserRequest(), "user")
    yield Bad("GetUser", admin.GetUserRequest(username="nul\0"), "username")
    yield Bad("GetUser", admin.GetUserRequest(user_id="nul\0"), "user_id")
    for text in ("", "a" * 65, *UNPRINTABLE):
        yield Bad("SetPassword", admin.SetPasswordRequest(user_id=text, password=PASSWORD), "user_id")
        yield Bad("DisableUser", admin.DisableUserRequest(user_id=text), "user_id")
        yield Bad("EnableUser", admin.EnableUserRequest(user_id=text), "user_id")
        yield Bad("RotateClientKey", admin.RotateClientKeyRequest(client_id=text), "client_id")
        yield Bad("RevokeClient", admin.RevokeClientRequest(client_id=text), "client_id")
    for overlap in (-1, 30 * 24 * 3600 + 1, 2**31 - 1):
        request = admin.RotateClientKeyRequest(client_id="web", overlap_seconds=overlap)
        yield Bad("RotateClientKey", request, "overlap_seconds")
    yield from _pages("ListUsers", admin.ListUsersRequest)
    yield from _pages("ListClients", admin.ListClientsRequest)
    yield from bad_clients()


def bad_clients() -> Iterator[Bad]:
    """CreateClientRequests with one thing wrong."""
    good: dict[str, Any] = {"client_id": "shop", "permissions": [1], "audiences": ["shop"]}
    wrong: list[tuple[str, Any]] = [
        *(
            ("client_id", name)
            for name in ("", "a", "Shop", "1shop", "sh op", "a" * 33, ID, "shop\0", "shöp")
        ),
        *(("permissions", numbers) for numbers in ([], [0], [1, 99], [-1])),
        *(("audiences", names) for names in ([], [""], ["a b"], ["a" * 129], ["shop"] * 65)),
        *(("scopes", names) for names in ([""], ["a b"], ["nul\0"])),
        *(("display_name", name) for name in ("a" * 129, "é" * 65, "nul\0")),
    ]
    for field, value in wrong:
        yield Bad("CreateClient", admin.CreateClientRequest(**{**good, field: value}), field)


ALL: Sequence[Bad] = [*bad_requests_of_auth_service(), *bad_requests_of_admin_service()]


async def contents(service: Service) -> dict[str, list[Any]]:
    """All that the database holds."""
    return {
        table.name: sorted(map(repr, await service.app.stores.database.read(select(table))))
        for table in metadata.sorted_tables
    }


async def test_each_names_its_field(service_on_each: Service) -> None:
    """A request with one thing wrong is INVALID_ARGUMENT with a violation of that field, and nothing is stored."""
    service = service_on_each
    await service.add_user()
    before = await contents(service)

    found = {str(bad)[:300]: said for bad in ALL if (said := await _said(service, bad)) != _refused(bad)}

    assert found == {}
    assert await contents(service) == before


def _refused(bad: Bad) -> tuple[object, ...]:
    return (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", [bad.field])


async def _said(service: Service, bad: Bad) -> tuple[object, ...]:
    try:
        await _send(service, bad)
    except grpc.aio.AioRpcError as error:
        return (error.code(), reason_of(error), fields_of(error) if "request" in str(error.details()) else [])
    return ("OK",)


async def _send(service: Service, bad: Bad) -> Any:
    stub = service.auth if bad.request.DESCRIPTOR.file.name.endswith("auth_service.proto") else service.admin
    call = getattr(stub, bad.rpc)(bad.request, metadata=service.by(bad.caller or "root"))
    return await (call.read() if bad.rpc == "Watch" else call)


async def test_all_at_once(service: Service) -> None:
    """Everything wrong with a request is told at once."""
    request = pb.LoginRequest(password="a" * 1025, device=Device(label="\0"), scopes=[""])

    error = await refusal(service.auth.Login(request, metadata=service.by("web")))

    assert fields_of(error) == ["username", "password", "device.label", "scopes"]


async def test_nothing_is_echoed(service: Service) -> None:
    """What was sent is not sent back: an answer may end in somebody's log."""
    request = pb.LoginRequest(username="SECRET\0", password="SECRET" * 200, audiences=["SECRET"])

    error = await refusal(service.auth.Login(request, metadata=service.by("web")))

    assert "SECRET" not in f"{error.details()} {error.trailing_metadata()}"


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "at least 15"),
        ("fourteen chars", "at least 15"),
        ("é" * 513, "at most 1024 bytes"),
        ("password12345678", "many people use"),
        ("abababababababab", "over and over"),
        ("alexander-the-3rd 2024", "names that everybody can guess"),
    ],
)
async def test_weak_password(service: Service, password: str, rule: str) -> None:
    """A weak password is refused with the rule that it breaks, for new users and for old ones."""
    user_id = await service.add_user("Alexander-the-3rd")
    create = admin.CreateUserRequest(username="Alexander-the-3rd", password=password)
    change = admin.SetPasswordRequest(user_id=user_id, password=password)
    root = service.by("root")

    for call in (
        service.admin.CreateUser(create, metadata=root),
        service.admin.SetPassword(change, metadata=root),
    ):
        error = await refusal(call)
        assert (reason_of(error), fields_of(error)) == ("PASSWORD_TOO_WEAK", ["password"])
        assert rule in str(error.details())


async def test_reserved_reasons(service: Service) -> None:
    """Reasons that only the service can know to be true are an admin's to give, not a user's."""
    login = await service.login()
    request = pb.RevokeRequest(session_id=login.session.id, reason=3)  # type: ignore[arg-type]  # ADMIN

    by_user = await refusal(service.auth.Revoke(request, metadata=bearer(login.session_token)))
    by_admin = await service.auth.Revoke(request, metadata=service.by("root"))

    assert fields_of(by_user) == ["reason"]
    assert by_admin.revoked_count == 1
