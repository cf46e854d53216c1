"""Owns asking a deployment one thing at a time, for tests that break one thing at a time. `calling` owns records."""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.faults.calling import said
from tests.faults.deployment import Deployment
from tests.parts.service import PASSWORD
from tests.parts.valkey import until

LATE = pytest.mark.skipif(
    not os.environ.get("AUTHSVC_LONG_TESTS"), reason="one more of a kind: AUTHSVC_LONG_TESTS=1"
)
NOT_NOW = "DEPENDENCY_UNAVAILABLE"
PATIENCE_S = 8.0
RECOVERY_S = 2.0
ENDS_S = 0.6  # half a second to hear of it, and asking


class Asking:
    """Asks instances of a deployment, by their numbers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.instances = deployment.instances

    async def log_in(
        self, instance: int = 0, username: str = "alice", timeout: float = PATIENCE_S
    ) -> pb.LoginResponse:
        """A new session."""
        request = pb.LoginRequest(username=username, password=PASSWORD)
        call = self.instances[instance].auth.Login(
            request, metadata=self.deployment.metadata("web"), timeout=timeout
        )
        reply: pb.LoginResponse = await call
        return reply

    async def login(self, instance: int, password: str = PASSWORD, timeout: float = PATIENCE_S) -> str:
        """How a login ends."""
        request = pb.LoginRequest(username="bob", password=password)
        return await said(self._by("web", self.instances[instance].auth.Login, request, timeout))

    async def validate(
        self, instance: int, login: pb.LoginResponse, timeout: float = PATIENCE_S, **wanted: Any
    ) -> str:
        """What an instance says of a session."""
        request = pb.ValidateSessionRequest(session_token=login.session_token, **wanted)
        return await said(
            self._by("gateway", self.instances[instance].auth.ValidateSession, request, timeout)
        )

    async def introspect(self, instance: int, token: str, timeout: float = PATIENCE_S) -> bool:
        """Whether an instance calls a token active."""
        request = pb.IntrospectRequest(token=token)
        reply = await self._by("gateway", self.instances[instance].auth.Introspect, request, timeout)
        return bool(reply.active)

    async def refresh(
        self, instance: int, refresh_token: str, timeout: float = PATIENCE_S
    ) -> pb.RefreshResponse:
        """Refresh, and return the reply."""
        request = pb.RefreshRequest(refresh_token=refresh_token)
        reply: pb.RefreshResponse = await self._by(
            "web", self.instances[instance].auth.Refresh, request, timeout
        )
        return reply

    async def revoke(self, instance: int, login: pb.LoginResponse, timeout: float = PATIENCE_S) -> str:
        """How a revocation ends."""
        request = pb.RevokeRequest(token=login.session_token)
        return await said(self._by("web", self.instances[instance].auth.Revoke, request, timeout))

    async def list_users(self, instance: int, timeout: float = PATIENCE_S) -> str:
        """How a call ends that needs SQL."""
        request = admin.ListUsersRequest(page_size=1)
        return await said(self._by("root", self.instances[instance].admin.ListUsers, request, timeout))

    async def in_every_cache(self) -> pb.LoginResponse:
        """A new session that every instance has just found in the cache."""
        login = await self.log_in()
        for number in range(len(self.instances)):
            assert await self.validate(number, login) == "OK"
        return login

    def _by(self, client_id: str, method: Callable[..., Any], request: Any, timeout: float) -> Awaitable[Any]:
        call: Awaitable[Any] = method(request, metadata=self.deployment.metadata(client_id), timeout=timeout)
        return call


def allowed(seconds: float) -> float:
    """So long, on a machine of which we have a core to ourselves; longer while many want the same cores."""
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, crowd)


async def recovers(ask: Callable[[], Awaitable[str]]) -> None:
    """Wait until a call succeeds; fail the test if that takes longer than recovery may."""

    async def succeeds() -> bool:
        return await ask() == "OK"

    await until(succeeds, allowed(RECOVERY_S))


async def ends(ask: Callable[[], Awaitable[str]]) -> None:
    """Wait until a session has ended; fail the test if that takes longer than it may at another instance."""

    async def is_over() -> bool:
        return await ask() == "SESSION_NOT_ACTIVE"

    await until(is_over, allowed(ENDS_S))


async def timed(call: Awaitable[Any]) -> tuple[Any, float]:
    """What a call returns, and how many seconds it took."""
    began = time.monotonic()
    return await call, time.monotonic() - began
