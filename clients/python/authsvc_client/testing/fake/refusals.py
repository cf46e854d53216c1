"""Owns how the fake refuses: the same reasons, statuses and details as authsvc. Leaves deciding to the rules."""

from dataclasses import dataclass
from typing import Final, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

_Code = grpc.StatusCode
_CODES: Final = {
    "INVALID_CREDENTIALS": _Code.UNAUTHENTICATED,
    "CREDENTIALS_MISSING": _Code.UNAUTHENTICATED,
    "CALLER_UNAUTHENTICATED": _Code.UNAUTHENTICATED,
    "CALLER_NOT_PERMITTED": _Code.PERMISSION_DENIED,
    "ACCESS_TOKEN_EXPIRED": _Code.UNAUTHENTICATED,
    "ACCESS_TOKEN_INVALID": _Code.UNAUTHENTICATED,
    "ACCESS_TOKEN_REVOKED": _Code.UNAUTHENTICATED,
    "SESSION_NOT_ACTIVE": _Code.UNAUTHENTICATED,
    "REFRESH_TOKEN_NOT_ACTIVE": _Code.UNAUTHENTICATED,
    "REFRESH_TOKEN_REUSED": _Code.UNAUTHENTICATED,
    "INVALID_REQUEST": _Code.INVALID_ARGUMENT,
    "OVERLOADED": _Code.RESOURCE_EXHAUSTED,
    "RATE_LIMITED": _Code.RESOURCE_EXHAUSTED,
    "DEPENDENCY_UNAVAILABLE": _Code.UNAVAILABLE,
    "REVISION_NOT_REACHED": _Code.UNAVAILABLE,
    "VIEW_TOO_OLD": _Code.UNAVAILABLE,
}
_RETRYABLE: Final = frozenset({_Code.RESOURCE_EXHAUSTED, _Code.UNAVAILABLE})
_RETRY_SECONDS: Final = 1


@dataclass(frozen=True)
class Refused(Exception):
    """A call is refused. `reason` is a name of `authsvc.v1.ErrorReason`, `field` the field at fault, if one is."""

    reason: str
    field: str = ""


def invalid(field: str) -> Refused:
    """A request whose `field` is wrong."""
    return Refused("INVALID_REQUEST", field)


def require(holds: bool, field: str) -> None:
    """Raises Refused unless what is asked of `field` holds."""
    if not holds:
        raise invalid(field)


def abort(context: grpc.ServicerContext, refused: Refused, domain: str) -> NoReturn:
    """End the call with the status of a refusal."""
    code = _CODES[refused.reason]
    message = f"Refused by the authsvc for tests: {refused.reason}."
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=refused.reason, domain=domain))
    if refused.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=refused.field, description="is not valid"
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if code in _RETRYABLE:
        delay = Duration(seconds=_RETRY_SECONDS)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)
    raise AssertionError("abort returned")
