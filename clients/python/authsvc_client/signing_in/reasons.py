"""Owns reading why a call was refused from its status. Leaves what to do about it to the callers.

Only googleapis-common-protos is needed: grpcio-status would pin a newer protobuf than an application may have.
"""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


def reason_of(error: grpc.RpcError) -> str:
    """The name of the ErrorReason that a failed call carries, such as "ACCESS_TOKEN_EXPIRED"; empty without one."""
    return reason_in(_trailing(error))


def retry_after_ms(error: grpc.RpcError) -> int | None:
    """How long the server asks to wait before the next try, in milliseconds. None: it does not say."""
    info = _detail(_trailing(error), error_details_pb2.RetryInfo)
    return (
        None if info is None else int(info.retry_delay.seconds * 1000 + info.retry_delay.nanos // 1_000_000)
    )


def reason_in(trailing_metadata: Iterable[tuple[str, Any]] | None) -> str:
    """The same as `reason_of`, for the trailing metadata alone."""
    info = _detail(trailing_metadata, error_details_pb2.ErrorInfo)
    return "" if info is None else str(info.reason)


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The status code of a failed call."""
    code = getattr(error, "code", None)
    return code() if callable(code) else grpc.StatusCode.UNKNOWN


def _trailing(error: grpc.RpcError) -> Iterable[tuple[str, Any]] | None:
    trailing = getattr(error, "trailing_metadata", None)
    return trailing() if callable(trailing) else None


def _detail(metadata: Iterable[tuple[str, Any]] | None, kind: Any) -> Any:
    """The first detail of this kind in a status, or None. What cannot be read is not there."""
    for key, value in metadata or ():
        if key == _DETAILS_KEY:
            try:
                details = status_pb2.Status.FromString(value).details
                packed = next((each for each in details if each.Is(kind.DESCRIPTOR)), None)
                return None if packed is None else kind.FromString(packed.value)
            except (DecodeError, TypeError):
                return None
    return None
