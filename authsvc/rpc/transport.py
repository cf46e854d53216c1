"""Owns grpc.aio: this file alone knows its context. Leaves all that happens to a call to the interceptors.

Handlers are wrapped once, at start. The interceptors of grpc.aio are not used: each costs every call a coroutine.
"""

import resource
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import Message

from authsvc.core.errors import InvalidRequest
from authsvc.rpc.call import Call, Metadata
from authsvc.rpc.errors import DETAILS_KEY
from authsvc.rpc.interceptors import Errors, Handler, Interceptor, Method, Refused, wrapped
from authsvc.rpc.policy import POLICY, check_policy, methods
from authsvc.rpc.receiving import METADATA_MAX_BYTES, Context, Read, Receiver, metadata_of

Requests = AsyncIterator[bytes]


def connections_max(file_descriptors: int) -> int:
    """Return how many connections are taken of a process that may have so many files open; below 0: any number."""
    return 8_192 if file_descriptors < 0 else min(8_192, file_descriptors // 2)


MESSAGE_MAX_BYTES = 64 * 1024
# Calls that are held here at once, of all connections together, whether they do anything or not: 20 KiB each.
HELD_AT_ONCE = 16_384
# Where the default is named it was measured with `tests/security`, and is no bound at all.
OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    # gRPC holds callers to it who acknowledge it; `receiving`, the others. Between the two it would refuse by lot.
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_MAX_BYTES),
    # By default 2^31: 10,000 calls begun on one connection took 195 MiB. Clients let further calls wait their turn.
    ("grpc.max_concurrent_streams", 256),
    # Calls that Python has yet to see. By default, of more than 1,000 some are refused by lot, whoever makes them:
    # while 10,000 were begun, others lost 4 of 307. So they wait instead: 0.9 s at worst.
    ("grpc.server.max_pending_requests", HELD_AT_ONCE),
    ("grpc.server.max_pending_requests_hard_limit", HELD_AT_ONCE),
    # By default 2^31: whoever opens connections would take every file descriptor, those of the stores, too.
    ("grpc.max_allowed_incoming_connections", connections_max(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
    # Until TLS and HTTP/2 have said hello: by default two minutes, also for who says half of it.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 5 * 60_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class MethodMissing(Exception):
    """A servicer lacks an RPC of the contract. The message names it."""


def add_servicers(
    server: grpc.aio.Server, servicers: dict[str, object], stack: Sequence[Interceptor], errors: Errors
) -> None:
    """Register servicers by full service name. Raises PolicyIncomplete and MethodMissing: better not started."""
    check_policy()
    receiver = Receiver()
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {name: {} for name in servicers}
    for name, descriptor in methods().items():
        service, _, rpc = name.partition("/")
        bound = getattr(servicers[service], rpc, None)
        if bound is None:
            raise MethodMissing(name)
        method = Method(name, descriptor, POLICY[name])
        by_service[service][rpc] = _rpc_handler(bound, method, stack, errors, receiver)
    for service, handlers in by_service.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def _rpc_handler(
    bound: Any, method: Method, stack: Sequence[Interceptor], errors: Errors, receiver: Receiver
) -> "grpc.RpcMethodHandler[Any, Any]":
    read = message_factory.GetMessageClass(method.descriptor.input_type).FromString
    write = message_factory.GetMessageClass(method.descriptor.output_type).SerializeToString
    unread = wrapped(_refuse_unread, method, stack[:1])  # seen as any other refusal is
    if not method.descriptor.server_streaming:
        served = _Served(wrapped(bound, method, stack), unread, read, method, errors, receiver)
        return grpc.stream_unary_rpc_method_handler(served.unary, None, write)

    async def opened(request: Message, call: Call) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = bound(request, call)
        return iterator

    served = _Served(wrapped(opened, method, stack), unread, read, method, errors, receiver)
    return grpc.stream_stream_rpc_method_handler(served.stream)


async def _refuse_unread(error: InvalidRequest, _call: Call) -> Message:
    raise error


@dataclass(frozen=True, slots=True)
class _Served:
    """An RPC as grpc.aio calls it. `handler` takes what was read, `unread` why it could not be."""

    handler: Handler
    unread: Handler
    read: Read
    method: Method
    errors: Errors
    receiver: Receiver

    async def unary(self, _requests: Requests, context: Context) -> Message:
        handle, metadata = self.handler, metadata_of(context)
        try:
            request: Message | InvalidRequest = await self.receiver.receive(context, metadata, self.read)
        except InvalidRequest as error:
            request, handle = error, self.unread
        call = _call(context, metadata)
        try:
            response: Message = await handle(request, call)
        except Refused as refused:
            await _abort(context, refused, call)
            raise
        except Exception as error:
            # An interceptor's own defect: grpc.aio would tell the caller its text.
            await _abort(context, self.errors.refused(error, self.method.name), call)
            raise
        if call.set_cookies:
            await context.send_initial_metadata(_set_cookies(call))
        return response

    async def stream(self, _requests: Requests, context: Context) -> AsyncIterator[bytes]:
        handle, metadata = self.handler, metadata_of(context)
        try:
            request: Message | InvalidRequest = await self.receiver.receive(context, metadata, self.read)
        except InvalidRequest as error:
            request, handle = error, self.unread
        call = _call(context, metadata)
        try:
            async for part in await handle(request, call):
                yield part
        except Refused as refused:
            await _abort(context, refused, call)
        except Exception as error:  # noqa: BLE001  nothing may pass by it
            await _abort(context, self.errors.refused(error, self.method.name), call)


def _call(context: Context, metadata: Metadata) -> Call:
    return Call(metadata, context.peer, context.time_remaining(), context.auth_context)


async def _abort(context: Context, refused: Refused, call: Call) -> None:
    """End the call. No initial metadata have been sent, so a proxy turns these into headers."""
    status = refused.status
    sent: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.details), *_set_cookies(call)]
    if status.retry_s is not None and call.is_browsers:
        sent.append(("retry-after", str(status.retry_s)))
    await context.abort(status.code, status.message, tuple(sent))


def _set_cookies(call: Call) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(("set-cookie", cookie) for cookie in call.set_cookies)
