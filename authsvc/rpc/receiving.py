"""Owns taking the one request of a call off the wire: metadata of a bearable size, the message in time. Leaves what it
says to the servicers.

Every RPC is registered as one that takes a stream, and its one message is read here, because grpc.aio reads the message
of any other before it calls the handler, and waits for it as long as the caller likes: a call that was begun and left
there holds 20 KiB. And gRPC holds to the bounds of metadata only callers who acknowledge them: of another, 3 MB reached
a handler. Both measured with grpcio 1.85.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError, Message

from authsvc.core.clock import SECOND
from authsvc.core.errors import InvalidRequest

METADATA_MAX_BYTES = 12 * 1024
MESSAGE_WAIT_MS = 10 * SECOND
_ENTRY_BYTES = 32  # what each entry counts beyond its own bytes (RFC 9113 §6.5.2)

Context = grpc.aio.ServicerContext[Any, Any]
Read = Callable[[bytes], Message]


async def receive(context: Context, read: Read) -> Message:
    """Return the message of a call. Raises InvalidRequest: metadata too large; message missing, late, unreadable."""
    entries: Any = context.invocation_metadata()
    size = _ENTRY_BYTES * len(entries) + sum(len(name) + len(value) for name, value in entries)
    if size > METADATA_MAX_BYTES:
        raise InvalidRequest(("metadata", f"must not be larger than {METADATA_MAX_BYTES} bytes"))
    try:
        async with asyncio.timeout(MESSAGE_WAIT_MS / SECOND):
            message: Any = await context.read()
    except TimeoutError:
        raise InvalidRequest(("request", "did not come in time")) from None
    if message is grpc.aio.EOF:
        raise InvalidRequest(("request", "is missing"))
    try:
        return read(message)
    except DecodeError:
        raise InvalidRequest(("request", "cannot be read as the message that this method takes")) from None
