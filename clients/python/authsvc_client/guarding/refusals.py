"""Owns how a guarded call is refused: the reason, its status, its details. Leaves deciding to the interceptors.

The reasons are authsvc's own (`authsvc.v1.ErrorReason`), so that a client branches on one list wherever a refusal comes
from. Details are made with googleapis-common-protos alone and, but for missing scopes, once.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from authsvc_client.strict import MissingScope, TokenExpired, TokenRejected, TokenRevoked

DETAILS_KEY: Final = "grpc-status-details-bin"
_RETRY_SECONDS: Final = 1

_UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
_DENIED = grpc.StatusCode.PERMISSION_DENIED
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

_TABLE: Final = {
    "CREDENTIALS_MISSING": (_UNAUTHENTICATED, "The call needs a token."),
    "CALLER_UNAUTHENTICATED": (_UNAUTHENTICATED, "The authorization metadata names no caller known here."),
    "ACCESS_TOKEN_EXPIRED": (_UNAUTHENTICATED, "The access token has expired."),
    "ACCESS_TOKEN_INVALID": (_UNAUTHENTICATED, "The access token is not valid here."),
    "ACCESS_TOKEN_REVOKED": (_UNAUTHENTICATED, "The access token was revoked."),
    "SESSION_NOT_ACTIVE": (_UNAUTHENTICATED, "The session is not active."),
    "CALLER_NOT_PERMITTED": (_DENIED, "The caller may not do this."),
    "SCOPE_INSUFFICIENT": (_DENIED, "The token lacks a scope that this method needs."),
    "INVALID_REQUEST": (
        grpc.StatusCode.INVALID_ARGUMENT,
        "The authsvc-min-revision metadata is not a revision.",
    ),
    "DEPENDENCY_UNAVAILABLE": (
        _UNAVAILABLE,
        "The token could not be checked just now. Nothing is known; try again.",
    ),
    "VIEW_TOO_OLD": (_UNAVAILABLE, "Revocations have not been heard of for too long to answer. Try again."),
    "REVISION_NOT_REACHED": (_UNAVAILABLE, "The wanted revision was not reached in time. Try again."),
    "OVERLOADED": (_EXHAUSTED, "Too many tokens are being checked. Try again."),
    "INTERNAL": (grpc.StatusCode.INTERNAL, "The token could not be judged."),
}
_RETRYABLE: Final = frozenset({_UNAVAILABLE, _EXHAUSTED})


class Refused(Exception):
    """The call must not be let through. `reason` is a name of `authsvc.v1.ErrorReason`, `facts` go into ErrorInfo."""

    def __init__(self, reason: str, facts: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts


class Status(NamedTuple):
    """What the caller gets, ready to send."""

    code: grpc.StatusCode
    message: str
    metadata: tuple[tuple[str, bytes], ...]


class Refusals:
    """The status of each refusal, under one domain (the issuer's host)."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._statuses = {reason: self._make(reason, None) for reason in _TABLE}

    def status(self, refused: Refused) -> Status:
        """What the caller gets."""
        if refused.facts:
            return self._make(refused.reason, refused.facts)
        return self._statuses[refused.reason]

    def _make(self, reason: str, facts: Mapping[str, str] | None) -> Status:
        code, message = _TABLE[reason]
        status = status_pb2.Status(code=code.value[0], message=message)
        info = error_details_pb2.ErrorInfo(reason=reason, domain=self._domain, metadata=facts)
        status.details.add().Pack(info)
        if code in _RETRYABLE:
            delay = Duration(seconds=_RETRY_SECONDS)
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        return Status(code, message, ((DETAILS_KEY, status.SerializeToString()),))


def of_rejected(error: TokenRejected) -> Refused:
    """The refusal of a token that was judged and found wanting."""
    if isinstance(error, TokenExpired):
        return Refused("ACCESS_TOKEN_EXPIRED")
    if isinstance(error, TokenRevoked):
        return Refused("ACCESS_TOKEN_REVOKED")
    return Refused("SCOPE_INSUFFICIENT" if isinstance(error, MissingScope) else "ACCESS_TOKEN_INVALID")


def reason_in(error: grpc.RpcError) -> str:
    """The reason that a status of authsvc carries; empty if it carries none."""
    # Pairs in every version of grpcio; a dict could not be made of the oldest one's.
    trailing: Iterable[Any] = error.trailing_metadata() or ()
    raw = next((value for key, value in trailing if key == DETAILS_KEY), b"")
    info = error_details_pb2.ErrorInfo()
    try:
        details = status_pb2.Status.FromString(raw).details
    except (DecodeError, TypeError):
        return ""
    return next((str(info.reason) for each in details if each.Unpack(info)), "")
