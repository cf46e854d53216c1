"""Owns reading what authsvc answers about tokens, for asyncio and threads alike. Leaves asking to both.

An answer is matched to its question by its place in the batch alone, and an answer that does not fit is none. What is
not an answer is UNAVAILABLE to the caller, never "not active": a server that is down logs nobody out.
"""

import logging
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import grpc

from authsvc.v1.auth_service_pb2 import (
    BatchValidateSessionsRequest,
    BatchValidateSessionsResponse,
    IntrospectRequest,
)
from authsvc_client.clock import Clock
from authsvc_client.guarding.principal import Principal
from authsvc_client.guarding.refusals import Refused, reason_in

BATCH_LIMIT: Final = 256
GATHER_MS: Final = 20
# No more callers within this: whoever was going to come has come.
QUIET_MS: Final = 1
TIMEOUT_MS: Final = 1_000
MAX_REUSE_MS: Final = 5_000
# Batches under way at once, and questions that are asked alone because they want a revision of their own.
MAX_UNDER_WAY: Final = 8
MAX_ALONE: Final = 64

# Bounded, so that no text a caller makes up can fill the message that others' tokens travel in.
_SESSION_TOKEN: Final = re.compile(r"ats_[A-Za-z0-9_-]{16,200}")
_log = logging.getLogger("authsvc_client.guarding")


def check_session_token(token: str) -> None:
    """Return if the text may be a session token. Raises Refused, without asking anybody."""
    if _SESSION_TOKEN.fullmatch(token) is None:
        raise Refused("SESSION_NOT_ACTIVE")


def batch_request(tokens: Sequence[str], min_revision: int) -> BatchValidateSessionsRequest:
    """One question about many tokens."""
    return BatchValidateSessionsRequest(session_tokens=tokens, min_revision=min_revision)


def introspect_request(token: str, audience: str, min_revision: int) -> IntrospectRequest:
    """The question whether an access token is still good."""
    hint = "access_token"
    return IntrospectRequest(token=token, token_type_hint=hint, audience=audience, min_revision=min_revision)


def principals(response: BatchValidateSessionsResponse, asked: int) -> list[Principal | None]:
    """Whom each token speaks for, in order; None for one that is not active. Raises Refused."""
    if len(response.results) != asked:
        raise Refused("DEPENDENCY_UNAVAILABLE")
    return [Principal.of_session(each.session) if each.active else None for each in response.results]


def not_answered(error: grpc.RpcError) -> Refused:
    """The refusal when authsvc did not answer the question."""
    code = error.code()
    reason = reason_in(error)
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        _log.error("authsvc refuses this service's own client key: %s", reason or code.name)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Refused("OVERLOADED")
    return Refused("REVISION_NOT_REACHED" if reason == "REVISION_NOT_REACHED" else "DEPENDENCY_UNAVAILABLE")


class _Answer(NamedTuple):
    principal: Principal
    reuse_until: int


class RecentAnswers:
    """A bounded memory of active sessions, for a moment. Thread-safe: each step is one operation on a dictionary.

    It knows nothing of revocations: whoever reuses an answer must follow them, and asks the view on every call.
    """

    def __init__(self, reuse_ms: int, monotonic: Clock, limit: int = 10_000) -> None:
        """Raises ValueError for more than 5 s: longer than a view may be old."""
        if not 0 <= reuse_ms <= MAX_REUSE_MS:
            raise ValueError(f"answers can be reused for 0 to {MAX_REUSE_MS} ms")
        self._reuse_ms = reuse_ms
        self._monotonic = monotonic
        self._limit = limit
        self._answers: dict[str, _Answer] = {}

    def get(self, token: str) -> Principal | None:
        """Whom the token spoke for a moment ago, if that is remembered."""
        answer = self._answers.get(token)
        return answer.principal if answer is not None and self._monotonic() < answer.reuse_until else None

    def keep(self, token: str, principal: Principal, asked_at: int) -> None:
        """Remember an answer to a question asked at `asked_at` (monotonic ms)."""
        if not self._reuse_ms:
            return
        if len(self._answers) >= self._limit:
            self._answers = {}
        self._answers[token] = _Answer(principal, asked_at + self._reuse_ms)
