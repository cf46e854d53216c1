"""Owns what is said to AuthService to sign in, stay signed in and sign out. Leaves when to `renewal` and to people.

Refreshing asks again when a reply may have got lost. The server gives the same successor to the same refresh token for
30 seconds, three times; so an answer is asked for promptly, and given up after four times without one. A connection
that never came about, and an error with a reason of the server's own, burn none of the four.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock
from authsvc_client.signing_in.errors import SessionEnded, SignInFailed
from authsvc_client.signing_in.reasons import code_of, reason_of, retry_after_ms
from authsvc_client.signing_in.received import ReceivedTokens, SignedIn
from authsvc_client.signing_in.steps import Call, Pause, Reach, Steps

RESEND_WINDOW_MS = 25_000
UNANSWERED_LIMIT = 4
_FIRST_PAUSE_MS = 100
_LONGEST_PAUSE_MS = 3000
_PAGE_SIZE = 100

_ASK_AGAIN = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
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
        """Log in. Raises grpc.RpcError, ReceivedTokenRejected."""
        asked_at = self.clock()
        request = pb.LoginRequest(
            username=order.username,
            password=order.password,
            audiences=order.wanted.audiences,
            scopes=order.wanted.scopes,
            credentials=order.credentials,
            remember=order.remember,
            device=order.device,
        )
        # Passwords are slow to check on purpose.
        response: pb.LoginResponse = yield Call("Login", request, 2 * self.timeout_ms)
        if response.HasField("challenge"):
            raise SignInFailed("The login asks for a second step.", code=grpc.StatusCode.FAILED_PRECONDITION)
        tokens = None
        if response.HasField("tokens"):
            tokens = yield from self.received.believe(response.tokens, order.wanted.audiences, asked_at)
        return SignedIn(response.session, response.session_token, tokens)

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
        ask_until = self.clock() + RESEND_WINDOW_MS
        pause_ms, unanswered = _FIRST_PAUSE_MS, 0
        while True:
            error: grpc.RpcError = SignInFailed("authsvc cannot be reached.")
            if (yield Reach(max(1, min(self.timeout_ms, ask_until - self.clock())))):
                try:
                    response: pb.RefreshResponse = yield Call("Refresh", request, self.timeout_ms)
                    return response
                except grpc.RpcError as failed:
                    error = failed
                    unanswered += not reason_of(error)
            if reason_of(error) in _ENDED:
                raise SessionEnded(reason_of(error)) from error
            wait_ms = max(retry_after_ms(error) or 0, round(pause_ms * (0.5 + self.jitter() / 2)))
            is_late = self.clock() + wait_ms >= ask_until
            if code_of(error) not in _ASK_AGAIN or unanswered == UNANSWERED_LIMIT or is_late:
                raise error
            yield Pause(wait_ms)
            pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)

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
