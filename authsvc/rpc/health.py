"""Owns grpc.health.v1: whether the server, and each of its services, takes calls. Leaves deciding it to authsvc.app.

Not the stock servicer: that one lacks List, and an open Watch of it makes a graceful stop wait its whole grace.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2 as pb

from authsvc.core.errors import InvalidRequest
from authsvc.rpc.receiving import Context, receive

SERVICE = "grpc.health.v1.Health"
SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The state of every service; the empty name stands for the server."""

    def __init__(self, services: list[str]) -> None:
        self._services = ["", *services]
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set(self, serving: bool) -> None:
        """Say whether calls are taken, and tell those who watch. After `close` it stays at no."""
        if serving != self._serving and not self._closed:
            self._serving = serving
            self._tell()

    def close(self) -> None:
        """Say that no more calls are taken, and end every watch."""
        self._serving, self._closed = False, True
        self._tell()

    @property
    def is_serving(self) -> bool:
        """Whether calls are taken."""
        return self._serving

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return self._response()

    async def List(self, request: pb.HealthListRequest, context: Context) -> pb.HealthListResponse:
        return pb.HealthListResponse(statuses={name: self._response() for name in self._services})

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        if request.service not in self._services:
            yield pb.HealthCheckResponse(status=_UNKNOWN)
        while request.service in self._services:
            changed = self._changed
            yield self._response()
            if self._closed:
                return
            await changed.wait()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register with the server."""
        response = pb.HealthCheckResponse.SerializeToString
        check = _received(self.Check, pb.HealthCheckRequest)
        watch = _received_of_stream(self.Watch, pb.HealthCheckRequest)
        list_ = _received(self.List, pb.HealthListRequest)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.stream_unary_rpc_method_handler(check, None, response),
            "Watch": grpc.stream_stream_rpc_method_handler(watch, None, response),
            "List": grpc.stream_unary_rpc_method_handler(
                list_, None, pb.HealthListResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _response(self) -> pb.HealthCheckResponse:
        return pb.HealthCheckResponse(status=SERVING if self._serving else NOT_SERVING)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _received(handler: Any, kind: Any) -> Any:
    async def received(_requests: Any, context: Context) -> Any:
        return await handler(await _request(context, kind), context)

    return received


def _received_of_stream(handler: Any, kind: Any) -> Any:
    async def received(_requests: Any, context: Context) -> AsyncIterator[Any]:
        async for response in handler(await _request(context, kind), context):
            yield response

    return received


async def _request(context: Context, kind: Any) -> Any:
    try:
        return await receive(context, kind.FromString)
    except InvalidRequest as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
