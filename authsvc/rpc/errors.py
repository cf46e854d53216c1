"""Owns the one table from refusals to gRPC statuses, and the details they carry. Leaves raising to the rules.

Every status has google.rpc.ErrorInfo (reason, domain); where waiting helps RetryInfo; for a wrong field BadRequest.
What is not in the table is a defect: the caller gets a fixed sentence and an incident id, the log gets the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from authsvc.core import errors as refusals
from authsvc.core.access_tokens import AccessTokenTooLarge
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.sealing import CannotUnseal
from authsvc.core.signing_keys import SigningKeyUnusable
from authsvc.v1.errors_pb2 import ErrorReason

Code = grpc.StatusCode
DETAILS_KEY = "grpc-status-details-bin"

TABLE: dict[type[Exception], tuple[grpc.StatusCode, "ErrorReason.ValueType"]] = {
    refusals.InvalidCredentials: (Code.UNAUTHENTICATED, ErrorReason.INVALID_CREDENTIALS),
    refusals.InvalidOneTimeCode: (Code.UNAUTHENTICATED, ErrorReason.INVALID_ONE_TIME_CODE),
    refusals.ChallengeNotActive: (Code.UNAUTHENTICATED, ErrorReason.CHALLENGE_NOT_ACTIVE),
    refusals.SecondFactorNotEnrolled: (Code.FAILED_PRECONDITION, ErrorReason.SECOND_FACTOR_NOT_ENROLLED),
    refusals.CredentialsMissing: (Code.UNAUTHENTICATED, ErrorReason.CREDENTIALS_MISSING),
    refusals.CallerUnauthenticated: (Code.UNAUTHENTICATED, ErrorReason.CALLER_UNAUTHENTICATED),
    refusals.CallerNotPermitted: (Code.PERMISSION_DENIED, ErrorReason.CALLER_NOT_PERMITTED),
    refusals.ScopeInsufficient: (Code.PERMISSION_DENIED, ErrorReason.SCOPE_INSUFFICIENT),
    refusals.OriginNotAllowed: (Code.PERMISSION_DENIED, ErrorReason.ORIGIN_NOT_ALLOWED),
    refusals.AccessTokenExpired: (Code.UNAUTHENTICATED, ErrorReason.ACCESS_TOKEN_EXPIRED),
    refusals.AccessTokenInvalid: (Code.UNAUTHENTICATED, ErrorReason.ACCESS_TOKEN_INVALID),
    refusals.AccessTokenRevoked: (Code.UNAUTHENTICATED, ErrorReason.ACCESS_TOKEN_REVOKED),
    refusals.SessionNotActive: (Code.UNAUTHENTICATED, ErrorReason.SESSION_NOT_ACTIVE),
    refusals.RefreshTokenNotActive: (Code.UNAUTHENTICATED, ErrorReason.REFRESH_TOKEN_NOT_ACTIVE),
    refusals.RefreshTokenReused: (Code.UNAUTHENTICATED, ErrorReason.REFRESH_TOKEN_REUSED),
    refusals.InvalidRequest: (Code.INVALID_ARGUMENT, ErrorReason.INVALID_REQUEST),
    refusals.PasswordTooWeak: (Code.INVALID_ARGUMENT, ErrorReason.PASSWORD_TOO_WEAK),
    refusals.TooManyAttempts: (Code.RESOURCE_EXHAUSTED, ErrorReason.RATE_LIMITED),
    refusals.Overloaded: (Code.RESOURCE_EXHAUSTED, ErrorReason.OVERLOADED),
    refusals.Stopping: (Code.UNAVAILABLE, ErrorReason.STOPPING),
    refusals.ViewTooOld: (Code.UNAVAILABLE, ErrorReason.VIEW_TOO_OLD),
    refusals.RevisionNotReached: (Code.UNAVAILABLE, ErrorReason.REVISION_NOT_REACHED),
    refusals.UsernameTaken: (Code.ALREADY_EXISTS, ErrorReason.USERNAME_TAKEN),
    refusals.ClientIdTaken: (Code.ALREADY_EXISTS, ErrorReason.CLIENT_ID_TAKEN),
    refusals.CertificateNameTaken: (Code.ALREADY_EXISTS, ErrorReason.CERTIFICATE_NAME_TAKEN),
    refusals.NotFound: (Code.NOT_FOUND, ErrorReason.NOT_FOUND),
    refusals.SigningKeysNotManaged: (Code.FAILED_PRECONDITION, ErrorReason.SIGNING_KEYS_NOT_MANAGED),
    StoreUnavailable: (Code.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
    CannotUnseal: (Code.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
    SigningKeyUnusable: (Code.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
    TimeoutError: (Code.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
    AccessTokenTooLarge: (Code.INVALID_ARGUMENT, ErrorReason.INVALID_REQUEST),
}
_RETRY_MS = 1000
_DEPENDENCY = "A part of the service did not answer in time. Nothing is known; try again."
_TOO_LARGE = "The access token would be too large; ask for fewer audiences or scopes."


@dataclass(frozen=True, slots=True)
class Status:
    """A gRPC status with its details, ready to send. `retry_s`: when it is worth trying again, None where it is not."""

    code: grpc.StatusCode
    reason: str
    message: str
    details: bytes
    retry_s: int | None = None


class Statuses:
    """Turns exceptions into statuses, under the domain of this deployment."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    def of(self, error: Exception) -> Status | None:
        """Return the status of a refusal; None for anything that the table does not know."""
        found = TABLE.get(type(error))
        if found is None:
            return None
        code, reason = found
        return self._status(code, ErrorReason.Name(reason), _message(error), _extra_details(error))

    def internal(self, incident: str) -> Status:
        """Return the status of a defect: an id to find it in the log by, and nothing else."""
        message = f"Something went wrong here. Incident {incident}."
        return self._status(Code.INTERNAL, ErrorReason.Name(ErrorReason.INTERNAL), message, [])

    def _status(self, code: grpc.StatusCode, reason: str, message: str, extra: list[Message]) -> Status:
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in (error_details_pb2.ErrorInfo(reason=reason, domain=self._domain), *extra):
            status.details.add().Pack(detail)
        retry_s = next(
            (_whole(each) for each in extra if isinstance(each, error_details_pb2.RetryInfo)), None
        )
        return Status(code, reason, message, status.SerializeToString(), retry_s)


def _message(error: Exception) -> str:
    if isinstance(error, refusals.PasswordTooWeak):
        return f"{error.message} password: {error.rule}."
    if isinstance(error, refusals.InvalidRequest):
        return f"{error.message} {'; '.join(f'{field}: {wrong}' for field, wrong in error.violations)}."
    if isinstance(error, refusals.Refusal):
        return error.message
    return _TOO_LARGE if isinstance(error, AccessTokenTooLarge) else _DEPENDENCY


def _extra_details(error: Exception) -> list[Message]:
    if isinstance(error, refusals.InvalidRequest):
        return [_bad_request(error.violations)]
    if isinstance(error, refusals.PasswordTooWeak):
        return [_bad_request([("password", error.rule)])]
    if isinstance(error, refusals.TooManyAttempts | refusals.Overloaded):
        return [_retry_info(error.retry_ms)]
    if isinstance(error, refusals.Stopping):
        return [_retry_info(0)]
    if TABLE[type(error)][0] is Code.UNAVAILABLE:
        return [_retry_info(_RETRY_MS)]
    return []


def _bad_request(violations: Iterable[tuple[str, str]]) -> Message:
    violation = error_details_pb2.BadRequest.FieldViolation
    found = [violation(field=field, description=description) for field, description in violations]
    bad: Message = error_details_pb2.BadRequest(field_violations=found)
    return bad


def _whole(info: error_details_pb2.RetryInfo) -> int:
    """Whole seconds, at least one, as HTTP has them (RFC 9110 §10.2.3)."""
    return max(1, int(info.retry_delay.seconds) + bool(info.retry_delay.nanos))


def _retry_info(retry_ms: int) -> Message:
    delay = Duration(seconds=retry_ms // 1000, nanos=retry_ms % 1000 * 1_000_000)
    info: Message = error_details_pb2.RetryInfo(retry_delay=delay)
    return info
