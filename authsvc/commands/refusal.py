"""Owns putting a gRPC status into one sentence. Leaves how statuses come about to `authsvc.rpc.errors`."""

from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from authsvc.commands.failure import NO_ANSWER, REFUSED, CommandFailed
from authsvc.core.contracts import StoreUnavailable
from authsvc.rpc.errors import DETAILS_KEY, Statuses

_TRY_AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class CallError(Protocol):
    """What every error of a call has; grpc.RpcError itself promises nothing."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Details:
    """What a status says beside its message. Empty where it says nothing."""

    reason: str
    fields: tuple[tuple[str, str], ...]


def of_call(error: CallError, address: str) -> CommandFailed:
    """Return the failure that an unanswered or refused call is."""
    code, message = error.code(), error.details() or ""
    details = _read(dict(error.trailing_metadata() or ()).get(DETAILS_KEY, b""))
    if not details.reason and code is grpc.StatusCode.UNAVAILABLE:
        return CommandFailed(f"no server answers at {address}: {message}", NO_ANSWER)
    if not details.reason and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        sentence = (
            f"the server at {address} did not answer in time; whether it did what was asked is not known"
        )
        return CommandFailed(sentence, NO_ANSWER)
    return CommandFailed(_sentence(message, details, code.name), NO_ANSWER if code in _TRY_AGAIN else REFUSED)


def of_rule(error: Exception) -> CommandFailed:
    """Return the failure that a rule's refusal is, in the words a server would use. Raises what is none."""
    status = Statuses("").of(error)
    if status is None:
        raise error
    no_answer = isinstance(error, StoreUnavailable)
    sentence = _sentence(status.message, _read(status.details), status.code.name)
    return CommandFailed(sentence, NO_ANSWER if no_answer else REFUSED)


def _sentence(message: str, details: _Details, code: str) -> str:
    """The message, what it does not say of the fields it finds fault with, and in brackets the reason."""
    unsaid = [f"{field}: {fault}" for field, fault in details.fields if fault not in message]
    return f"{' '.join([message, *unsaid])} ({details.reason or code})"


def _read(encoded: bytes) -> _Details:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    try:
        for detail in status_pb2.Status.FromString(encoded).details:
            detail.Unpack(info) or detail.Unpack(bad)
    except DecodeError:
        return _Details("", ())
    fields = tuple((each.field, each.description) for each in bad.field_violations)
    return _Details(info.reason, fields)
