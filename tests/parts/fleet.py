"""Several real instances on the same stores, and callers that keep calling them as a client of ours would."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from authsvc.stores.embedded import free_port
from authsvc.v1 import admin_service_pb2, admin_service_pb2_grpc, auth_service_pb2_grpc
from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import CHANNEL_OPTIONS
from tests.parts import processes
from tests.parts.processes import Serving
from tests.parts.service import PASSWORD, bearer

_TIMEOUT_S = 20.0


class Fleet:
    """Instances by their ports, each a process."""

    def __init__(self, settings: Mapping[str, str], count: int) -> None:
        self._settings = settings
        self._exits = {free_port(): ExitStack() for _ in range(count)}
        self.serving: dict[int, Serving] = {}

    @property
    def ports(self) -> list[int]:
        """All of them, running or not."""
        return list(self._exits)

    @property
    def target(self) -> str:
        """Where clients find all of them."""
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self, *ports: int) -> None:
        """Start instances, and wait until they serve."""
        for port in ports:
            settings = {**self._settings, "LISTEN": f"127.0.0.1:{port}"}
            self.serving[port] = self._exits[port].enter_context(processes.serve(**settings))
        for port in ports:
            self.serving[port].wait_for("serving")

    def stop(self, port: int) -> int:
        """Ask an instance to end; return its exit status."""
        status = self.serving[port].terminate()
        self._exits[port].close()
        return status

    def kill(self, port: int) -> None:
        """End an instance as a power cut would."""
        self.serving[port].process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End all."""
        for exits in self._exits.values():
            exits.close()


@contextmanager
def fleet_of(settings: Mapping[str, str], count: int) -> Iterator[Fleet]:
    """Run so many instances for the length of the block."""
    fleet = Fleet(settings, count)
    try:
        fleet.start(*fleet.ports)
        yield fleet
    finally:
        fleet.close()


@dataclass
class Load:
    """Callers that call until they are told to stop; what came of it."""

    callers: list["Caller"] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[float, str, str]] = field(default_factory=list)
    """When, what, how."""
    stopping: bool = False

    async def repeat(self, what: str, call: Callable[[], Awaitable[Any]]) -> None:
        """Call one after the other."""
        while not self.stopping:
            try:
                await call()
                self.done[what] += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append((time.monotonic(), what, f"{error.code().name}: {error.details()}"))
                await asyncio.sleep(0.01)


class Caller:
    """One user of a client with every permission, over one channel to the whole fleet."""

    def __init__(self, target: str, key: str) -> None:
        self.channel = grpc.aio.insecure_channel(target, list(CHANNEL_OPTIONS))
        self._auth: Any = auth_service_pb2_grpc.AuthServiceStub(self.channel)
        self._admin: Any = admin_service_pb2_grpc.AdminServiceStub(self.channel)
        self._metadata = bearer(key)
        self._username = ""
        self.login_response = pb.LoginResponse()
        self._refresh_token = ""
        self.revision = 0
        """Of the newest revocation that was acknowledged."""

    async def sign_up(self, username: str) -> None:
        """Become a user, and log in."""
        request = admin_service_pb2.CreateUserRequest(username=username, password=PASSWORD)
        await self._admin.CreateUser(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        self._username = username
        self.login_response = await self.login()
        self._refresh_token = self.login_response.tokens.refresh_token

    async def login(self) -> Any:
        """Begin one more session."""
        request = pb.LoginRequest(username=self._username, password=PASSWORD)
        return await self._auth.Login(request, metadata=self._metadata, timeout=_TIMEOUT_S)

    async def login_and_out(self) -> None:
        """Begin a session and end it."""
        response = await self.login()
        request = pb.RevokeRequest(token=response.session_token)
        revoked = await self._auth.Revoke(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        self.revision = max(self.revision, revoked.revision)

    async def validate(self) -> None:
        """Ask whose session it is."""
        request = pb.ValidateSessionRequest(session_token=self.login_response.session_token)
        response = await self._auth.ValidateSession(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        assert response.session.id == self.login_response.session.id

    async def refresh(self) -> None:
        """Renew the session's tokens."""
        request = pb.RefreshRequest(refresh_token=self._refresh_token)
        response = await self._auth.Refresh(request, metadata=self._metadata, timeout=_TIMEOUT_S)
        self._refresh_token = response.tokens.refresh_token
