"""Owns what a conversation with authsvc is made of. Leaves taking the steps to `connections`.

A conversation is a generator: it yields what it needs done and is sent the outcome, or has the error thrown into it.
So each is written once, does no I/O of its own, and is run by asyncio or by plain threads.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Call:
    """Call this method of AuthService. Outcome: the response. Throws grpc.RpcError.

    `bearer` is who calls; None stands for the client itself, by its key, and "" for nobody.
    """

    method: str
    request: Message = field(repr=False)
    timeout_ms: int
    bearer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reach:
    """Wait until the server is connected. Outcome: whether it is; if not, nothing that was asked can have arrived."""

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Let time pass."""

    duration_ms: int


T = TypeVar("T")

Step = Call | Reach | Pause
Steps = Generator[Step, Any, T]
