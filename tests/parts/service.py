"""A whole instance in this process, over real stores and a real channel, with a clock that tests move.

Registered in `tests/conftest.py`. `service` runs on SQLite; `service_on_each` twice, on SQLite and PostgreSQL.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from pydantic import SecretBytes, SecretStr

from authsvc.app import App, Development, open_app
from authsvc.core.callers import Caller
from authsvc.core.model import AuditEvent, Client, ClientKey, Permission
from authsvc.core.tokens import TokenMint
from authsvc.outside import Outside, monotonic_clock, wall_clock
from authsvc.settings import Settings
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2, admin_service_pb2_grpc, auth_service_pb2, auth_service_pb2_grpc

ISSUER = "https://auth.example.com"
PASSWORD = "a long enough pass phrase"
SECRET = b"0123456789abcdef0123456789abcdef"
AUDIENCES = ("orders", "billing")
SCOPES = ("orders.read", "orders.write")
# The clients every service has: their ids and what they may do.
CLIENTS = {
    "web": frozenset({Permission.LOGIN}),
    "app": frozenset({Permission.LOGIN}),
    "gateway": frozenset({Permission.INTROSPECT}),
    "root": frozenset({Permission.ADMIN}),
}


class MovableClock:
    """The time of day, plus what a test adds to it. Once stopped, only the test moves it."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._stopped_at: int | None = None

    def __call__(self) -> int:
        return (wall_clock() if self._stopped_at is None else self._stopped_at) + self.ahead_ms

    def stop(self) -> None:
        """Stand still, for boundaries to be hit exactly."""
        self._stopped_at = wall_clock()

    def move(self, milliseconds: int) -> None:
        """Let time pass."""
        self.ahead_ms += milliseconds


@dataclass
class Service:
    """A running instance, stubs to call it, and the keys of its clients (`CLIENTS`)."""

    app: App
    clock: MovableClock
    channel: grpc.aio.Channel
    keys: dict[str, str]
    user_ids: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.app.port}"

    @property
    def auth(self) -> "auth_service_pb2_grpc.AuthServiceAsyncStub":
        """AuthService."""
        return auth_service_pb2_grpc.AuthServiceStub(self.channel)

    @property
    def admin(self) -> "admin_service_pb2_grpc.AdminServiceAsyncStub":
        """AdminService."""
        return admin_service_pb2_grpc.AdminServiceStub(self.channel)

    def by(self, client_id: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a call by this client."""
        return bearer(self.keys[client_id])

    async def add_user(self, username: str = "alice", scopes: Sequence[str] = SCOPES) -> str:
        """Create a user with PASSWORD; return the id."""
        request = admin_service_pb2.CreateUserRequest(username=username, password=PASSWORD, scopes=scopes)
        response = await self.admin.CreateUser(request, metadata=self.by("root"))
        self.user_ids[username] = response.user.id
        return response.user.id

    async def login(self, username: str = "alice", client_id: str = "web", **wanted: Any) -> Any:
        """Log in, adding the user first if need be; return the LoginResponse."""
        if username not in self.user_ids:
            await self.add_user(username)
        request = auth_service_pb2.LoginRequest(username=username, password=PASSWORD, **wanted)
        return await self.auth.Login(request, metadata=self.by(client_id))

    async def validate(self, session_token: str, **wanted: Any) -> Any:
        """Validate as the gateway; return the ValidateSessionResponse."""
        request = auth_service_pb2.ValidateSessionRequest(session_token=session_token, **wanted)
        return await self.auth.ValidateSession(request, metadata=self.by("gateway"))

    async def introspect(self, token: str, **wanted: Any) -> Any:
        """Introspect as the gateway; return the IntrospectResponse."""
        request = auth_service_pb2.IntrospectRequest(token=token, **wanted)
        return await self.auth.Introspect(request, metadata=self.by("gateway"))

    async def refresh(self, refresh_token: str, client_id: str = "web", **wanted: Any) -> Any:
        """Refresh; return the RefreshResponse."""
        request = auth_service_pb2.RefreshRequest(refresh_token=refresh_token, **wanted)
        return await self.auth.Refresh(request, metadata=self.by(client_id))

    async def revoke(self, client_id: str = "web", **target: Any) -> Any:
        """Revoke; return the RevokeResponse."""
        request = auth_service_pb2.RevokeRequest(**target)
        return await self.auth.Revoke(request, metadata=self.by(client_id))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata that names the caller."""
    return (("authorization", f"Bearer {token}"),)


async def outcome(call: Awaitable[Any]) -> str:
    """How a call ends: `OK`, or the ErrorReason of its status."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """The status of a call that must not succeed."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The ErrorReason that a status carries."""
    return str(_detail(error, error_details_pb2.ErrorInfo).reason)


def fields_of(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that a status finds fault with."""
    return [each.field for each in _detail(error, error_details_pb2.BadRequest).field_violations]


def retry_seconds_of(error: grpc.aio.AioRpcError) -> float:
    """When a status says to try again."""
    delay = _detail(error, error_details_pb2.RetryInfo).retry_delay
    return float(delay.seconds + delay.nanos / 1e9)


def _detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    found = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    detail = kind()
    status = status_pb2.Status.FromString(found)
    next(any_ for any_ in status.details if any_.Is(kind.DESCRIPTOR)).Unpack(detail)
    return detail


def settings_for(database_url: str, cache_url: str, **changed: Any) -> Settings:
    """Settings of a test instance on a free port."""
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "issuer": ISSUER,
        "database_url": SecretStr(database_url),
        "cache_url": SecretStr(cache_url),
        "secret_keys": SecretBytes(SECRET),
        "plaintext": True,
        **changed,
    }
    return Settings(**given)


@asynccontextmanager
async def run_service(
    database_url: str,
    cache_url: str,
    clock: MovableClock | None = None,
    anonymous: frozenset[Permission] | None = None,
    **changed: Any,
) -> AsyncIterator[Service]:
    """Run an instance over a migrated database. `changed` settings; `anonymous` permissions make it a dev instance."""
    clock = clock or MovableClock()
    development = Development(Caller(anonymous, "web")) if anonymous is not None else None
    outside = Outside(clock, monotonic_clock, os.urandom)
    app = await open_app(settings_for(database_url, cache_url, **changed), outside, development)
    keys = await _seed_clients(app, clock)
    await app.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{app.port}")
    try:
        yield Service(app, clock, channel, keys)
    finally:
        await channel.close()
        await app.stop()


async def _seed_clients(app: App, clock: MovableClock) -> dict[str, str]:
    mint = TokenMint(app.settings.secrets, os.urandom)
    keys = {}
    for client_id, permissions in CLIENTS.items():
        key, now = mint.client_key(), clock()
        client = Client(client_id, "", permissions, AUDIENCES, (), now)
        stored = ClientKey(key.token_hash, client_id, now)
        if not await app.stores.clients.create(client, stored, AuditEvent("client.created", now)):
            await app.stores.clients.add_key(stored, now + 10**12, AuditEvent("client.key_rotated", now))
        keys[client_id] = key.text
    return keys


@pytest.fixture
async def service(sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Service]:
    """An instance on SQLite and Valkey."""
    async with run_service(sqlite_url, valkey.url) as running:
        yield running


@pytest.fixture
async def service_on_each(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Service]:
    """An instance on Valkey and each database in turn."""
    async with run_service(database_url, valkey.url) as running:
        yield running


@pytest.fixture
async def service_on_own(sqlite_url: str, own_valkey: EmbeddedValkey) -> AsyncIterator[Service]:
    """An instance on SQLite and a Valkey of its own, to be mistreated."""
    async with run_service(sqlite_url, own_valkey.url) as running:
        yield running
