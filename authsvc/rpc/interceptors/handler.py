"""Owns the shapes that interceptors share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.descriptor import MethodDescriptor

from authsvc.rpc.call import Call
from authsvc.rpc.errors import Status
from authsvc.rpc.policy import Row

# (request, call) -> response message; for a stream, -> the iterator of its messages. Messages differ by RPC, and
# the descriptors, not the types, say which belongs where.
Handler = Callable[[Any, Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: its full name `package.Service/Method`, its descriptor and its policy row."""

    name: str
    descriptor: MethodDescriptor
    row: Row


class Refused(Exception):
    """The call ends with this status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.reason)
        self.status = status


class Interceptor(Protocol):
    """Wraps the handler of one RPC."""

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
