"""Owns taking the one request of a call off the wire: metadata of a bearable size, the message in time. Leaves what it
says to the servicers.

Every RPC is registered as one that takes a stream, and its one message is read here, because grpc.aio reads the message
of any other before it calls the handler, and waits for it as long as the caller likes: a call that was begun and left
there holds 20 KiB. And gRPC holds to the bounds of metadata only callers who acknowledge them: of another, 3 MB reached
a handler. Both measured with grpcio 1.85.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import grpc.aio
from google.protobuf.message import DecodeError, Message

from authsvc.core.clock import SECOND
from authsvc.core.errors import InvalidRequest
from authsvc.overdue import Overdue
from authsvc.rpc.call import Metadata

METADATA_MAX_BYTES = 12 * 1024
MESSAGE_WAIT_MS = 10 * SECOND
_ENTRY_BYTES = 32  # what each entry counts beyond its own bytes (RFC 9113 §6.5.2)

Context = grpc.aio.ServicerContext[Any, Any]
Read = Callable[[bytes], Message]


def metadata_of(context: Context) -> Metadata:
    """Return the metadata of a call: pairs, whatever their type says. They are put together anew each time."""
    metadata: Any = context.invocation_metadata()
    return cast(Metadata, metadata)


class Receiver:
    """Takes the messages of calls."""

    def __init__(self) -> None:
        self._waiting: Overdue[asyncio.Task[Any]] = Overdue(MESSAGE_WAIT_MS / SECOND, asyncio.Task.cancel)

    async def receive(self, context: Context, metadata: Metadata, read: Read) -> Message:
        """Return the message of a call. Raises InvalidRequest: metadata too large; message missing, late, not one."""
        size = _ENTRY_BYTES * len(metadata) + sum([len(name) + len(value) for name, value in metadata])
        if size > METADATA_MAX_BYTES:
            raise InvalidRequest(("metadata", f"must not be larger than {METADATA_MAX_BYTES} bytes"))
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for the type checker: handlers run in tasks
        self._waiting.begin(task)
        try:
            message: Any = await context.read()
        except asyncio.CancelledError:
            if self._waiting.end(task) or task.uncancel():
                raise  # by somebody else
            raise InvalidRequest(("request", "did not come in time")) from None
        finally:
            self._waiting.end(task)
        return _read(message, read)


def _read(message: Any, read: Read) -> Message:
    if message is grpc.aio.EOF:
        raise InvalidRequest(("request", "is missing"))
    try:
        return read(message)
    except DecodeError:
        raise InvalidRequest(("request", "cannot be read as the message that this method takes")) from None
