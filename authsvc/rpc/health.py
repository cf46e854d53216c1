"""Owns grpc.health.v1: whether the server, and each of its services, takes calls. Leaves deciding it to authsvc.app.

Not the stock servicer: that one lacks List, and an open Watch of it makes a graceful stop wait its whole grace.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2 as pb

SERVICE = "grpc.health.v1.Health"
SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN

Context = grpc.aio.ServicerContext[Any, Any]


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
        request, response = pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self.Check, request, response),
            "Watch": grpc.unary_stream_rpc_method_handler(self.Watch, request, response),
            "List": grpc.unary_unary_rpc_method_handler(
                self.List, pb.HealthListRequest.FromString, pb.HealthListResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _response(self) -> pb.HealthCheckResponse:
        return pb.HealthCheckResponse(status=SERVING if self._serving else NOT_SERVING)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
