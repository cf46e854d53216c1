"""Owns what is said to AuthService to sign in, stay signed in and sign out. Leaves when to `renewal` and to people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock
from authsvc_client.signing_in.asking import ask
from authsvc_client.signing_in.errors import Challenge, SecondStepNeeded, SessionEnded
from authsvc_client.signing_in.reasons import reason_of
from authsvc_client.signing_in.received import ReceivedTokens, SignedIn
from authsvc_client.signing_in.steps import Call, Steps

_PAGE_SIZE = 100

_ENDED = frozenset({"REFRESH_TOKEN_NOT_ACTIVE", "REFRESH_TOKEN_REUSED"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an access token is to be good for. Empty: all that the session has."""

    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PasswordOrder:
    """A login by password."""

    username: str
    password: str = field(repr=False)
    wanted: Wanted = Wanted()
    credentials: Sequence["resources.Credential.ValueType"] = ()
    remember: bool = False
    device: resources.Device | None = None
    device_token: str = field(default="", repr=False)


class Conversations:
    """The conversations of one client with one authsvc. `jitter` returns a number in 0…1."""

    def __init__(
        self, received: ReceivedTokens, clock: Clock, jitter: Callable[[], float], timeout_ms: int
    ) -> None:
        self.received = received
        self.clock = clock
        self.jitter = jitter
        self.timeout_ms = timeout_ms

    def login(self, order: PasswordOrder) -> Steps[SignedIn]:
        """Log in. Raises SecondStepNeeded, grpc.RpcError, ReceivedTokenRejected."""
        asked_at = self.clock()
        request = pb.LoginRequest(
            username=order.username,
            password=order.password,
            audiences=order.wanted.audiences,
            scopes=order.wanted.scopes,
            credentials=order.credentials,
            remember=order.remember,
            device=order.device,
            device_token=order.device_token,
        )
        # Passwords are slow to check on purpose.
        response: pb.LoginResponse = yield Call("Login", request, 2 * self.timeout_ms)
        if response.HasField("challenge"):
            raise SecondStepNeeded(_challenge(response.challenge, order))
        return (yield from self._signed_in(response, order.wanted.audiences, asked_at))

    def answer(self, challenge: Challenge, one_time_code: str) -> Steps[SignedIn]:
        """Answer the challenge of a login. Raises grpc.RpcError, ReceivedTokenRejected."""
        yield from self.received.prepare()
        asked_at = self.clock()
        request = pb.LoginRequest(
            challenge_token=challenge.challenge_token,
            one_time_code=one_time_code,
            device_token=challenge.device_token,
        )
        response: pb.LoginResponse = yield Call("Login", request, self.timeout_ms)
        return (yield from self._signed_in(response, challenge.audiences, asked_at))

    def _signed_in(
        self, response: pb.LoginResponse, audiences: tuple[str, ...], asked_at: int
    ) -> Steps[SignedIn]:
        tokens = None
        if response.HasField("tokens"):
            tokens = yield from self.received.believe(response.tokens, audiences, asked_at)
        device_token = response.device_token
        return SignedIn(response.session, response.session_token, tokens, device_token=device_token)

    def refresh(self, refresh_token: str, wanted: Wanted) -> Steps[SignedIn]:
        """Trade a refresh token for its successor. Raises SessionEnded, grpc.RpcError, ReceivedTokenRejected."""
        yield from self.received.prepare()
        asked_at = self.clock()
        response = yield from self.rotate(refresh_token, wanted)
        tokens = yield from self.received.believe(response.tokens, wanted.audiences, asked_at)
        return SignedIn(response.session, "", tokens, response.replayed)

    def rotate(self, refresh_token: str, wanted: Wanted) -> Steps[pb.RefreshResponse]:
        """Return the answer to Refresh, nothing in it verified yet. Raises SessionEnded, grpc.RpcError."""
        request = pb.RefreshRequest(
            refresh_token=refresh_token, audiences=wanted.audiences, scopes=wanted.scopes
        )
        call = Call("Refresh", request, self.timeout_ms)
        try:
            response: pb.RefreshResponse = yield from ask(call, self.clock, self.jitter)
            return response
        except grpc.RpcError as error:
            if reason_of(error) in _ENDED:
                raise SessionEnded(reason_of(error)) from error
            raise

    def revoke(self, request: pb.RevokeRequest, bearer: str | None) -> Steps[int]:
        """Revoke, and return the revision of the log that contains it. Raises grpc.RpcError."""
        response: pb.RevokeResponse = yield Call("Revoke", request, self.timeout_ms, bearer)
        return response.revision

    def list_sessions(self, bearer: str, include_ended: bool) -> Steps[list[resources.Session]]:
        """Return all sessions of the calling user, newest first. Raises grpc.RpcError."""
        sessions: list[resources.Session] = []
        page_token = ""
        while True:
            request = pb.ListSessionsRequest(
                page_size=_PAGE_SIZE, page_token=page_token, include_ended=include_ended
            )
            page: pb.ListSessionsResponse = yield Call("ListSessions", request, self.timeout_ms, bearer)
            sessions += page.sessions
            page_token = page.next_page_token
            if not page_token:
                return sessions


def _challenge(received: pb.Challenge, order: PasswordOrder) -> Challenge:
    return Challenge(
        received.challenge_token,
        tuple(received.methods),
        received.expire_time.ToMilliseconds(),
        order.wanted.audiences,
        order.device_token,
    )
