"""A go-between for authsvc: passes calls on, counts them, and can cut the wire once a call has taken effect."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import grpc
import grpc.aio

_DETAILS = "grpc-status-details-bin"


class Between:
    """Clients connect to `address`: a wire to a gRPC server that calls the real one and hands on what it says."""

    def __init__(self, real: str) -> None:
        self._real = real
        self.counts: Counter[str] = Counter()
        self.replies: dict[str, Callable[[bytes], bytes]] = {}
        """By method: changes what the real one answered."""
        self.losing: Counter[str] = Counter()
        """By method: how many more replies get lost, each with its connection."""
        self.is_down = False
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._real)
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Anything(self._pass_on),))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self._wire = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._wire.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._wire.close()
        self.cut()
        await self._server.stop(0)
        await self._channel.close()

    def cut(self) -> None:
        """Cut every connection, this moment."""
        for end in self._ends:
            end.transport.abort()

    async def _pass_on(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        self.counts[name] += 1
        given = tuple(pair for pair in context.invocation_metadata() if pair[0] == "authorization")
        call: Any = self._channel.unary_unary(method)
        answer = b""
        try:
            answer = await call(request, metadata=given)
        except grpc.aio.AioRpcError as error:
            trailing = tuple(pair for pair in error.trailing_metadata() or () if pair[0] == _DETAILS)
            context.set_trailing_metadata(trailing)
            await context.abort(error.code(), error.details() or "")
        if self.losing[name] > 0:
            self.losing[name] -= 1
            self.cut()
        change = self.replies.get(name)
        return answer if change is None else change(answer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {writer, server_writer}
        self._ends |= ends
        await asyncio.gather(_carry(reader, server_writer), _carry(server_reader, writer))
        self._ends -= ends


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Anything(grpc.GenericRpcHandler):
    """Takes every unary method of authsvc."""

    def __init__(self, pass_on: Callable[[str, bytes, Any], Any]) -> None:
        self._pass_on = pass_on

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method."""
        method = handler_call_details.method
        if not method.startswith("/authsvc."):
            return None  # a client that asks about health goes on without

        async def handle(request: bytes, context: Any) -> Any:
            return await self._pass_on(method, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)
