"""What must stay secret is sent in as canaries; then every output is searched for them."""

import dataclasses
import importlib
import io
import logging
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio
import prometheus_client
import pytest
import structlog
from sqlalchemy import select

import authsvc.core
from authsvc import logs
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql.schema import audit_events
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, bearer, outcome, run_service

CANARY = "kanarie9f3c7e21"
PASSWORD = f"the {CANARY} password"
OPAQUE = [f"{prefix}{CANARY}{'A' * 48}" for prefix in ("ats_", "atr_", "atc_", "xyz_")]
JWT = f"eyJhbGciOiJub25lIn0.{CANARY}.{CANARY}"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at the level that logs most, as the server itself would write it."""
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug", to=written)
    yield written
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
async def service(sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO) -> AsyncIterator[Service]:
    """An instance whose logs are kept."""
    async with run_service(sqlite_url, valkey.url) as running:
        yield running


async def told(call: Any) -> str:
    """All that the caller gets to see of a status."""
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return f"{error.details()} {error.initial_metadata()} {error.trailing_metadata()}"
    return str(response)


def everywhere(service: Service) -> list[Any]:
    """Calls that carry a canary in each place that may hold a secret."""
    auth, root, web = service.auth, service.by("root"), service.by("web")
    extra = (("cookie", f"sid={CANARY}"), ("x-api-key", CANARY), ("x-bytes-bin", CANARY.encode()))
    user_id = service.user_ids["alice"]
    return [
        auth.Login(pb.LoginRequest(username="alice", password=PASSWORD), metadata=web + extra),
        auth.Login(pb.LoginRequest(username=PASSWORD, password="x"), metadata=web),
        auth.Login(pb.LoginRequest(username="alice", password=CANARY * 100), metadata=web),
        auth.GetKeySet(pb.GetKeySetRequest(), metadata=extra),
        service.admin.CreateUser(admin.CreateUserRequest(username="bob", password=PASSWORD), metadata=root),
        service.admin.CreateUser(admin.CreateUserRequest(username="eve", password=CANARY[:9]), metadata=root),
        service.admin.SetPassword(
            admin.SetPasswordRequest(user_id=user_id, password=PASSWORD), metadata=root
        ),
        *(_in_every_place(service, token) for token in (*OPAQUE, JWT)),
    ]


async def _in_every_place(service: Service, token: str) -> str:
    auth, web, gateway = service.auth, service.by("web"), service.by("gateway")
    batch = pb.BatchValidateSessionsRequest(session_tokens=[token])
    calls = [
        auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(token)),
        auth.ListSessions(pb.ListSessionsRequest(page_token=token), metadata=service.by("root")),
        auth.Refresh(pb.RefreshRequest(refresh_token=token), metadata=web),
        auth.Revoke(pb.RevokeRequest(token=token), metadata=web),
        auth.ValidateSession(pb.ValidateSessionRequest(session_token=token), metadata=gateway),
        auth.BatchValidateSessions(batch, metadata=gateway),
        auth.ExchangeSession(pb.ExchangeSessionRequest(session_token=token), metadata=gateway),
        auth.Introspect(pb.IntrospectRequest(token=token, token_type_hint=token), metadata=gateway),
    ]
    return " ".join([await told(call) for call in calls])


async def test_no_output_holds_a_secret(
    service: Service, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    """No log, status, metric or stream of the process ever holds what came in as password, token or metadata."""
    await service.add_user()

    answers = [await told(call) for call in everywhere(service)]

    metrics = prometheus_client.generate_latest(service.app.metrics).decode()
    assert log.getvalue().count("\n") > 20
    assert "grpc_server_handled_total" in metrics
    written = "".join((log.getvalue(), metrics, *answers, *capfd.readouterr()))
    assert CANARY not in written
    assert CANARY.encode().hex() not in written


async def test_real_tokens_are_not_logged(service: Service, log: io.StringIO) -> None:
    """Tokens that are good are in no log either."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)
    await outcome(service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.session_token)))
    await service.revoke(token=login.tokens.access_token)

    tokens = (
        login.session_token,
        login.tokens.refresh_token,
        login.tokens.access_token,
        *service.keys.values(),
    )

    assert "AuthService/Revoke" in log.getvalue()
    assert [token for token in tokens if token[:20] in log.getvalue()] == []


async def test_typed_name_is_not_kept(service: Service, log: io.StringIO) -> None:
    """The name typed at a failed login is neither logged nor in the audit log: people type passwords there."""
    request = pb.LoginRequest(username=PASSWORD, password="x")
    await outcome(service.auth.Login(request, metadata=service.by("web")))

    rows = await service.app.stores.database.read(select(audit_events))
    assert "login.failed" in rows[-1]
    assert CANARY not in str(rows) + log.getvalue()


class BrokenError(Exception):
    """A defect that quotes all it was given."""

    def __init__(self) -> None:
        super().__init__(f"no such thing: {PASSWORD} {OPAQUE[0]}")
        self.add_note(PASSWORD)


async def _break(*_args: object, **_named: object) -> Any:
    try:
        raise ExceptionGroup(PASSWORD, [BrokenError()])
    except ExceptionGroup as cause:
        raise BrokenError from cause


async def test_incident(service: Service, log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown exception's text goes nowhere, not even into the log; its type and place do, under the caller's id."""
    monkeypatch.setattr(service.app.stores.logins, "get", _break)
    request = pb.LoginRequest(username="alice", password=PASSWORD)

    answer = await told(service.auth.Login(request, metadata=service.by("web")))

    incident = re.search(r"Incident ([0-9a-f]{16})\.", answer)
    assert incident
    assert incident[1] in log.getvalue()
    assert "BrokenError" in log.getvalue()
    assert '"_break"' in log.getvalue()
    assert "BrokenError" not in answer
    assert CANARY not in answer + log.getvalue()


async def test_incident_in_a_stream(
    service: Service, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for a stream."""

    def broken(*_args: object) -> Any:
        raise BrokenError

    monkeypatch.setattr(service.app._feed, "place_after", broken)
    await service.revoke(token=(await service.login()).session_token)
    await service.app._tail.poll()
    stream = service.auth.Watch(pb.WatchRequest(from_revision=1), metadata=service.by("gateway"))

    answer = await told(_first(stream))

    assert "Incident" in answer
    assert "BrokenError" in log.getvalue()
    assert CANARY not in answer + log.getvalue()


async def _first(stream: Any) -> Any:
    return await stream.read()


async def test_unreadable_request(
    service: Service, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no message are a bad request like any other, and neither sent back nor logged."""
    unary: Any = service.channel.unary_unary("/authsvc.v1.AuthService/Login")
    stream: Any = service.channel.unary_stream("/authsvc.v1.AuthService/Watch")
    junk = b"\x0a\xff" + PASSWORD.encode()

    answer = await told(unary(junk, metadata=service.by("web")))
    assert "The request is not valid." in await told(_first(stream(junk, metadata=service.by("gateway"))))

    written = "".join((answer, log.getvalue(), *capfd.readouterr()))
    assert "The request is not valid." in answer
    assert "AuthService/Login" in log.getvalue()
    assert CANARY not in written


async def test_standard_library_logs(log: io.StringIO) -> None:
    """What libraries log passes the same sieve."""
    try:
        raise BrokenError
    except BrokenError:
        logging.getLogger("somebody").exception("failed with %s", JWT)

    assert "failed with [removed]" in log.getvalue()
    assert CANARY not in log.getvalue()


# Fields that sound like secrets and are none.
_HARMLESS = {
    "token_hash", "token_type", "token_id", "next_page_token", "token_ttl_ms", "tokens", "password_changed_at",
    "secrets",
}  # fmt: skip


def _dataclasses() -> Iterator[type]:
    for module in pkgutil.iter_modules(authsvc.core.__path__):
        for kind in vars(importlib.import_module(f"authsvc.core.{module.name}")).values():
            if dataclasses.is_dataclass(kind) and isinstance(kind, type):
                yield kind


def test_values_do_not_print_secrets() -> None:
    """No value of the core shows a token, a password or sealed bytes when printed, and a new one cannot forget to."""
    fields = {(kind, field) for kind in set(_dataclasses()) for field in dataclasses.fields(kind)}
    sounds_secret = re.compile(r"token|password|secret|text|sealed|private|body|signer")

    printed = {
        f"{kind.__name__}.{field.name}"
        for kind, field in fields
        if field.repr and sounds_secret.search(field.name) and field.name not in _HARMLESS
        if field.type is not int
    }

    assert len(fields) > 150
    assert printed == set()


async def test_settings_do_not_print_secrets(service: Service) -> None:
    """Nor do the settings."""
    printed = f"{service.app.settings!r} {service.app.settings.secrets!r} {vars(service.app)!r}"

    assert "0123456789abcdef" not in printed
    assert service.app.settings.cache_url.get_secret_value() not in printed
