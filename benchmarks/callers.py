"""Owns what one caller does over and over, RPC by RPC. Leaves how many there are and for how long to `load`.

A caller makes one call and checks what came back: an error or a wrong answer ends the run. Calls carry what real ones
carry, a deadline and the caller's key. Each walks on through the tokens, so that no small cache makes things look good.
"""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc.aio

from authsvc.core.model import Permission
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc, resources_pb2
from benchmarks.echo import METHOD
from benchmarks.seed import AUDIENCES, PASSWORD, SCOPES, Seeded

TIMEOUT_S = 10.0
ACCESS_TOKENS = 2_000

Call = Callable[[], Awaitable[None]]


class Work(Protocol):
    """What the callers of one row share. Lives as long as the run, so tokens are carried on from slice to slice."""

    def __init__(self, seeded: Any) -> None:
        """`seeded`: what the server's database holds; None for a server without one."""

    async def begin(self, channel: grpc.aio.Channel) -> None:
        """Do once what must be done before the first call."""

    def caller(self, channel: grpc.aio.Channel) -> Call:
        """Return the next caller. Calling it raises WrongAnswer, or grpc's error."""


class WrongAnswer(Exception):
    """An RPC answered OK, and something else than it must."""


def check(holds: bool, what: str) -> None:
    """Raises WrongAnswer unless it holds."""
    if not holds:
        raise WrongAnswer(what)


class Echo:
    """Sends 64 bytes, about as much as a token, and gets them back: no protobuf, no metadata."""

    def __init__(self, seeded: Seeded | None) -> None:
        self._request = bytes(range(64))

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        request = self._request

        async def call() -> None:
            check(await method(request, timeout=TIMEOUT_S) == request, "echo")

        return call


class LargerEcho(Echo):
    """The same with as many bytes as an access token has and a client key in its metadata: what carrying costs."""

    def caller(self, channel: grpc.aio.Channel) -> Call:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        request = self._request * 8
        metadata = (("authorization", "Bearer atc_" + "a" * 64),)

        async def call() -> None:
            check(await method(request, metadata=metadata, timeout=TIMEOUT_S) == request, "echo")

        return call


class _Asking:
    """Work of a client with `introspect`, over all session tokens in turn."""

    def __init__(self, seeded: Seeded) -> None:
        self._sessions = itertools.cycle(seeded.session_tokens)
        self._metadata = metadata_of(seeded, Permission.INTROSPECT)

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass


class ValidateSession(_Asking):
    """One session token a call."""

    def caller(self, channel: grpc.aio.Channel) -> Call:
        validate = auth_service_pb2_grpc.AuthServiceStub(channel).ValidateSession

        async def call() -> None:
            token, session_id = next(self._sessions)
            request = pb.ValidateSessionRequest(session_token=token)
            response = await validate(request, metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.session.id == session_id, "ValidateSession")

        return call


class _Batch(_Asking):
    size = 0

    def caller(self, channel: grpc.aio.Channel) -> Call:
        validate = auth_service_pb2_grpc.AuthServiceStub(channel).BatchValidateSessions

        async def call() -> None:
            asked = list(itertools.islice(self._sessions, self.size))
            request = pb.BatchValidateSessionsRequest(session_tokens=[token for token, _ in asked])
            response = await validate(request, metadata=self._metadata, timeout=TIMEOUT_S)
            found = [result.session.id for result in response.results if result.active]
            check(found == [session_id for _, session_id in asked], "BatchValidateSessions")

        return call


class Batch16(_Batch):
    """16 session tokens a call."""

    size = 16


class Batch64(_Batch):
    """64 session tokens a call."""

    size = 64


class IntrospectSession(_Asking):
    """One session token a call."""

    def caller(self, channel: grpc.aio.Channel) -> Call:
        introspect = auth_service_pb2_grpc.AuthServiceStub(channel).Introspect

        async def call() -> None:
            token, session_id = next(self._sessions)
            request = pb.IntrospectRequest(token=token)
            response = await introspect(request, metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.active and response.sid == session_id, "Introspect")

        return call


class IntrospectJwt(_Asking):
    """One access token a call, of thousands, each of which the server has seen before."""

    async def begin(self, channel: grpc.aio.Channel) -> None:
        minted = await exchanged(channel, self._metadata, self._sessions)
        self._access_tokens = itertools.cycle(minted)
        call = self.caller(channel)
        for _ in minted:
            await call()

    def caller(self, channel: grpc.aio.Channel) -> Call:
        introspect = auth_service_pb2_grpc.AuthServiceStub(channel).Introspect

        async def call() -> None:
            token, session_id = next(self._access_tokens)
            request = pb.IntrospectRequest(token=token)
            response = await introspect(request, metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.active and response.sid == session_id, "Introspect")

        return call


class Refresh:
    """Each caller renews a session of its own, again and again, each time with the newest refresh token."""

    def __init__(self, seeded: Seeded) -> None:
        self._free = [*seeded.refresh_tokens]
        self._metadata = metadata_of(seeded, Permission.LOGIN)

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        refresh = auth_service_pb2_grpc.AuthServiceStub(channel).Refresh
        newest, session_id = self._free.pop()

        async def call() -> None:
            nonlocal newest
            request = pb.RefreshRequest(refresh_token=newest)
            response = await refresh(request, metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.session.id == session_id and not response.replayed, "Refresh")
            check(bool(response.tokens.access_token), "Refresh")
            newest = response.tokens.refresh_token

        return call


class Revoke:
    """Each call ends another session, by its session token."""

    def __init__(self, seeded: Seeded) -> None:
        self._sessions = iter(seeded.session_tokens)
        self._metadata = metadata_of(seeded, Permission.LOGIN)

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        revoke = auth_service_pb2_grpc.AuthServiceStub(channel).Revoke

        async def call() -> None:
            token, _ = next(self._sessions)
            response = await revoke(pb.RevokeRequest(token=token), metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.revoked_count == 1 and response.revision > 0, "Revoke")

        return call


class Login:
    """Each caller logs its own user in, from a network of its own, as the client reports it."""

    def __init__(self, seeded: Seeded) -> None:
        self._users = iter(enumerate(itertools.cycle(seeded.usernames)))
        self._metadata = metadata_of(seeded, Permission.LOGIN)

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        login = auth_service_pb2_grpc.AuthServiceStub(channel).Login
        number, username = next(self._users)
        device = resources_pb2.Device(ip_address=f"198.51.{number // 250 % 250}.{number % 250}")
        request = pb.LoginRequest(username=username, password=PASSWORD, device=device)

        async def call() -> None:
            response = await login(request, metadata=self._metadata, timeout=TIMEOUT_S)
            check(response.session.username == username, "Login")
            check(response.session_token.startswith("ats_") and bool(response.tokens.access_token), "Login")

        return call


def metadata_of(seeded: Seeded, permission: Permission) -> tuple[tuple[str, str], ...]:
    """What the client with this permission sends with each call."""
    return (("authorization", f"Bearer {seeded.client_keys[permission.value]}"),)


async def exchanged(
    channel: grpc.aio.Channel,
    metadata: tuple[tuple[str, str], ...],
    sessions: "itertools.cycle[tuple[str, str]]",
) -> Sequence[tuple[str, str]]:
    """Access tokens of sessions, each with the id of its session."""
    exchange = auth_service_pb2_grpc.AuthServiceStub(channel).ExchangeSession
    minted = []
    for token, session_id in itertools.islice(sessions, ACCESS_TOKENS):
        request = pb.ExchangeSessionRequest(session_token=token, audiences=AUDIENCES[:1], scopes=SCOPES[:1])
        response = await exchange(request, metadata=metadata, timeout=TIMEOUT_S)
        minted.append((response.access_token, session_id))
    return minted
