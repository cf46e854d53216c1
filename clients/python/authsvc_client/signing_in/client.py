"""Owns signing in and out by hand: AuthClient on asyncio, SyncAuthClient for threads. Leaves attaching tokens to calls
to interceptors, and renewing them to sources.

Every access token that these return has been verified. Errors are grpc.RpcError with a reason (`reason_of`), of which
SessionEnded and ReceivedTokenRejected have names of their own.
"""

import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock, wall_clock
from authsvc_client.signing_in.bearers import check_bearer
from authsvc_client.signing_in.connections import Connection, Endpoint, Options, SyncConnection
from authsvc_client.signing_in.conversations import Conversations, PasswordOrder, Wanted
from authsvc_client.signing_in.errors import Challenge
from authsvc_client.signing_in.received import LEEWAY_MS, ReceivedTokens, SignedIn

TIMEOUT_MS = 5000


class AuthClient:
    """authsvc, for a registered client on asyncio. Close it, or use it as a context manager.

    The channel is opened by the first call, so that a client may be made before a fork or outside the event loop.
    """

    def __init__(
        self,
        where: str | grpc.aio.Channel,
        *,
        issuer: str,
        client_key: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        options: Options = (),
        timeout_ms: int = TIMEOUT_MS,
        leeway_ms: int = LEEWAY_MS,
        clock: Clock = wall_clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`where` is a gRPC target, or a channel, for whose privacy the caller then answers. `client_key` names the
        client; logging in and refreshing need one, unless TLS names it.

        Raises PlaintextRefused for a target on another machine without `credentials`, unless `unsafe_plaintext`;
        ValueError without an issuer or with an unsound key.
        """
        end = Endpoint(where, credentials, unsafe_plaintext, options) if isinstance(where, str) else where
        self.connection = Connection(end, check_bearer(client_key) if client_key else "")
        self.conversations = Conversations(
            ReceivedTokens(issuer, clock, jitter, leeway_ms), clock, jitter, timeout_ms
        )

    async def login(
        self,
        username: str,
        password: str,
        *,
        audiences: Sequence[str] = (),
        scopes: Sequence[str] = (),
        credentials: Sequence["resources.Credential.ValueType"] = (),
        remember: bool = False,
        device: resources.Device | None = None,
        device_token: str = "",
    ) -> SignedIn:
        """Check a password and start a session. `credentials` are what to issue, empty for all; `device_token` is that
        of an earlier login from the same device.

        Raises SecondStepNeeded (ask the user for a code, then `answer`), grpc.RpcError (INVALID_CREDENTIALS,
        RATE_LIMITED, …), ReceivedTokenRejected.
        """
        wanted = Wanted(tuple(audiences), tuple(scopes))
        order = PasswordOrder(username, password, wanted, credentials, remember, device, device_token)
        return await self.connection.run(self.conversations.login(order))

    async def answer(self, challenge: Challenge, one_time_code: str) -> SignedIn:
        """Answer the challenge of a login, by a code of the user's authenticator app or a recovery code.

        Raises grpc.RpcError (INVALID_ONE_TIME_CODE: the challenge takes another; CHALLENGE_NOT_ACTIVE: log in anew;
        RATE_LIMITED), ReceivedTokenRejected.
        """
        return await self.connection.run(self.conversations.answer(challenge, one_time_code))

    async def refresh(
        self, refresh_token: str, *, audiences: Sequence[str] = (), scopes: Sequence[str] = ()
    ) -> SignedIn:
        """Trade a refresh token for its successor and a new access token; keep only the successor.

        A reply that gets lost is asked for again, for up to 25 seconds. Raises SessionEnded, ReceivedTokenRejected,
        grpc.RpcError (the token is still good).
        """
        wanted = Wanted(tuple(audiences), tuple(scopes))
        return await self.connection.run(self.conversations.refresh(refresh_token, wanted))

    async def logout(self, token: str) -> int:
        """End the session of a token of any kind (RFC 7009); unknown and ended ones too are fine. Returns the revision.

        Raises grpc.RpcError; UNAVAILABLE means that nothing is known to have ended.
        """
        return await self.connection.run(self.conversations.revoke(pb.RevokeRequest(token=token), None))

    async def list_sessions(self, bearer: str, *, include_ended: bool = False) -> list[resources.Session]:
        """All sessions of the user whose access token or session token this is, newest first. Raises grpc.RpcError."""
        return await self.connection.run(self.conversations.list_sessions(bearer, include_ended))

    async def revoke_session(self, bearer: str, session_id: str) -> int:
        """End one of the sessions of the user whose token this is. Returns the revision. Raises grpc.RpcError."""
        request = pb.RevokeRequest(session_id=session_id)
        return await self.connection.run(self.conversations.revoke(request, bearer))

    async def revoke_others(self, bearer: str) -> int:
        """End all sessions of that user but the one that the token belongs to. Returns the revision.

        Raises grpc.RpcError.
        """
        request = pb.RevokeRequest(other_sessions=True)
        return await self.connection.run(self.conversations.revoke(request, bearer))

    async def close(self) -> None:
        """Close the channel that the first call opened. A later call opens another."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class SyncAuthClient:
    """authsvc, for a registered client with threads: what AuthClient is on asyncio, and safe to share between them.

    Made before a fork it serves parent and children. To fork while it is in use, older versions of grpcio (1.74, but
    not 1.85) must be told so, with GRPC_ENABLE_FORK_SUPPORT=1 in the environment.
    """

    def __init__(
        self,
        where: str | grpc.Channel,
        *,
        issuer: str,
        client_key: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        options: Options = (),
        timeout_ms: int = TIMEOUT_MS,
        leeway_ms: int = LEEWAY_MS,
        clock: Clock = wall_clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """As for AuthClient."""
        end = Endpoint(where, credentials, unsafe_plaintext, options) if isinstance(where, str) else where
        self.connection = SyncConnection(end, check_bearer(client_key) if client_key else "")
        self.conversations = Conversations(
            ReceivedTokens(issuer, clock, jitter, leeway_ms), clock, jitter, timeout_ms
        )

    def login(
        self,
        username: str,
        password: str,
        *,
        audiences: Sequence[str] = (),
        scopes: Sequence[str] = (),
        credentials: Sequence["resources.Credential.ValueType"] = (),
        remember: bool = False,
        device: resources.Device | None = None,
        device_token: str = "",
    ) -> SignedIn:
        """As AuthClient.login."""
        wanted = Wanted(tuple(audiences), tuple(scopes))
        order = PasswordOrder(username, password, wanted, credentials, remember, device, device_token)
        return self.connection.run(self.conversations.login(order))

    def answer(self, challenge: Challenge, one_time_code: str) -> SignedIn:
        """As AuthClient.answer."""
        return self.connection.run(self.conversations.answer(challenge, one_time_code))

    def refresh(
        self, refresh_token: str, *, audiences: Sequence[str] = (), scopes: Sequence[str] = ()
    ) -> SignedIn:
        """As AuthClient.refresh."""
        wanted = Wanted(tuple(audiences), tuple(scopes))
        return self.connection.run(self.conversations.refresh(refresh_token, wanted))

    def logout(self, token: str) -> int:
        """As AuthClient.logout."""
        return self.connection.run(self.conversations.revoke(pb.RevokeRequest(token=token), None))

    def list_sessions(self, bearer: str, *, include_ended: bool = False) -> list[resources.Session]:
        """As AuthClient.list_sessions."""
        return self.connection.run(self.conversations.list_sessions(bearer, include_ended))

    def revoke_session(self, bearer: str, session_id: str) -> int:
        """As AuthClient.revoke_session."""
        request = pb.RevokeRequest(session_id=session_id)
        return self.connection.run(self.conversations.revoke(request, bearer))

    def revoke_others(self, bearer: str) -> int:
        """As AuthClient.revoke_others."""
        request = pb.RevokeRequest(other_sessions=True)
        return self.connection.run(self.conversations.revoke(request, bearer))

    def close(self) -> None:
        """Close the channel that the first call opened. A later call opens another."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
