"""Owns grpc.health.v1: whether the server, and each of its services, is well. Leaves deciding it to authsvc.app.

One more name, `authsvc.v1`, says less: whether calls are taken at all. While the database is down an instance is not
well, but still answers what it can from the cache; who spreads calls over instances asks for that name, or an outage of
the one database would take every instance out at once.

Not the stock servicer: that one lacks List, and an open Watch of it makes a graceful stop wait its whole grace.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2 as pb

from authsvc.core.errors import InvalidRequest
from authsvc.rpc.receiving import Context, Receiver, metadata_of

SERVICE = "grpc.health.v1.Health"
TAKES_CALLS = "authsvc.v1"
SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The state of every service; the empty name stands for the server."""

    def __init__(self, services: list[str]) -> None:
        self._services = ["", TAKES_CALLS, *services]
        self._serving = False
        self._open = False
        self._closed = False
        self._changed = asyncio.Event()

    def set(self, serving: bool) -> None:
        """Say whether all is well, and tell those who watch. Calls are taken from the first yes until `close`."""
        if serving != self._serving and not self._closed:
            self._serving = serving
            self._open = self._open or serving
            self._tell()

    def close(self) -> None:
        """Say that no more calls are taken, and end every watch."""
        self._serving, self._open, self._closed = False, False, True
        self._tell()

    @property
    def is_serving(self) -> bool:
        """Whether all is well."""
        return self._serving

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return self._response(request.service)

    async def List(self, request: pb.HealthListRequest, context: Context) -> pb.HealthListResponse:
        return pb.HealthListResponse(statuses={name: self._response(name) for name in self._services})

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        if request.service not in self._services:
            yield pb.HealthCheckResponse(status=_UNKNOWN)
        said: pb.HealthCheckResponse | None = None
        while request.service in self._services:
            changed = self._changed
            if said != (now := self._response(request.service)):
                said = now
                yield now  # it may be another by the time that this is sent
            elif self._closed:
                return
            else:
                await changed.wait()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register with the server."""
        response = pb.HealthCheckResponse.SerializeToString
        receiver = Receiver()
        check = _Served(self.Check, pb.HealthCheckRequest, receiver)
        watch = _Served(self.Watch, pb.HealthCheckRequest, receiver)
        list_ = _Served(self.List, pb.HealthListRequest, receiver)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.stream_unary_rpc_method_handler(check.unary, None, response),
            "Watch": grpc.stream_stream_rpc_method_handler(watch.stream, None, response),
            "List": grpc.stream_unary_rpc_method_handler(
                list_.unary, None, pb.HealthListResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _response(self, service: str) -> pb.HealthCheckResponse:
        serving = self._open if service == TAKES_CALLS else self._serving
        return pb.HealthCheckResponse(status=SERVING if serving else NOT_SERVING)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@dataclass(frozen=True, slots=True)
class _Served:
    """An RPC as grpc.aio calls it; its message is read here (see `receiving`)."""

    handler: Any
    kind: Any
    receiver: Receiver

    async def unary(self, _requests: Any, context: Context) -> Any:
        return await self.handler(await self._request(context), context)

    async def stream(self, _requests: Any, context: Context) -> AsyncIterator[Any]:
        async for response in self.handler(await self._request(context), context):
            yield response

    async def _request(self, context: Context) -> Any:
        try:
            return await self.receiver.receive(context, metadata_of(context), self.kind.FromString)
        except InvalidRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
