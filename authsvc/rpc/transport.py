"""Owns grpc.aio: this file alone knows its context. Leaves all that happens to a call to the interceptors.

Handlers are wrapped once, at start. The interceptors of grpc.aio are not used: each costs every call a coroutine.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from authsvc.core.errors import InvalidRequest
from authsvc.rpc.call import Call
from authsvc.rpc.errors import DETAILS_KEY
from authsvc.rpc.interceptors import Errors, Handler, Interceptor, Method, Refused, wrapped
from authsvc.rpc.policy import POLICY, check_policy, methods

Context = grpc.aio.ServicerContext[Any, Any]
Read = Callable[[bytes], Message]

MESSAGE_MAX_BYTES = 64 * 1024
METADATA_MAX_BYTES = 6 * 1024
OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * METADATA_MAX_BYTES),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
)


class MethodMissing(Exception):
    """A servicer lacks an RPC of the contract. The message names it."""


def add_servicers(
    server: grpc.aio.Server, servicers: dict[str, object], stack: Sequence[Interceptor], errors: Errors
) -> None:
    """Register servicers by full service name. Raises PolicyIncomplete and MethodMissing: better not started."""
    check_policy()
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {name: {} for name in servicers}
    for name, descriptor in methods().items():
        service, _, rpc = name.partition("/")
        bound = getattr(servicers[service], rpc, None)
        if bound is None:
            raise MethodMissing(name)
        method = Method(name, descriptor, POLICY[name])
        by_service[service][rpc] = _rpc_handler(bound, method, stack, errors)
    for service, handlers in by_service.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def _rpc_handler(
    bound: Any, method: Method, stack: Sequence[Interceptor], errors: Errors
) -> "grpc.RpcMethodHandler[Any, Any]":
    # Read in the handler: an exception where grpc.aio itself would read would be told to the caller.
    read = message_factory.GetMessageClass(method.descriptor.input_type).FromString
    write = message_factory.GetMessageClass(method.descriptor.output_type).SerializeToString
    unreadable = wrapped(_refuse_unreadable, method, stack[:1])  # seen as any other refusal is
    if not method.descriptor.server_streaming:
        unary = _unary(wrapped(bound, method, stack), unreadable, read)
        return grpc.unary_unary_rpc_method_handler(unary, None, write)

    async def opened(request: Message, call: Call) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = bound(request, call)
        return iterator

    stream = _stream(wrapped(opened, method, stack), unreadable, read, method, errors)
    return grpc.unary_stream_rpc_method_handler(stream)


async def _refuse_unreadable(_request: None, _call: Call) -> Message:
    raise InvalidRequest(("request", "cannot be read as the message that this method takes"))


def _unary(handler: Handler, unreadable: Handler, read: Read) -> Any:
    async def unary(encoded: bytes, context: Context) -> Message:
        handle = handler
        try:
            request: Message | None = read(encoded)
        except DecodeError:
            request, handle = None, unreadable
        try:
            response: Message = await handle(request, _call(context))
            return response
        except Refused as refused:
            await _abort(context, refused)
            raise

    return unary


def _stream(handler: Handler, unreadable: Handler, read: Read, method: Method, errors: Errors) -> Any:
    async def stream(encoded: bytes, context: Context) -> AsyncIterator[bytes]:
        handle = handler
        try:
            request: Message | None = read(encoded)
        except DecodeError:
            request, handle = None, unreadable
        try:
            async for part in await handle(request, _call(context)):
                yield part
        except Refused as refused:
            await _abort(context, refused)
        except Exception as error:  # noqa: BLE001  nothing may pass by it
            await _abort(context, errors.refused(error, method.name))

    return stream


def _call(context: Context) -> Call:
    # The metadata are a tuple of pairs, whatever their type says.
    return Call(context.invocation_metadata(), context.peer, context.time_remaining())  # type: ignore[arg-type]


async def _abort(context: Context, refused: Refused) -> None:
    status = refused.status
    await context.abort(status.code, status.message, ((DETAILS_KEY, status.details),))
