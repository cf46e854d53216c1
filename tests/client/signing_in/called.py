"""A service with one method of each shape that notes the metadata of every call and refuses when told to."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

NAME = "called.Called"
SHAPES = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")


class Called:
    """Listens on a free port of loopback, and of every other address too. `seen` has the metadata of each call."""

    def __init__(self, server_credentials: grpc.ServerCredentials | None = None) -> None:
        self.seen: list[dict[str, str]] = []
        self.refuses: Callable[[str], str] = lambda bearer: ""
        """Gives the reason for which a bearer is refused; empty to accept it."""
        self._server_credentials = server_credentials
        self._port = 0

    @property
    def target(self) -> str:
        """Where it listens, on this host."""
        return f"localhost:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens, on any address."""
        return self._port

    @property
    def bearers(self) -> list[str]:
        """The bearer of each call so far; empty for a call without."""
        return [_bearer(each) for each in self.seen]

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self._unary),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self._stream),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self._unary),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
        if self._server_credentials is None:
            self._port = self._server.add_insecure_port("0.0.0.0:0")
        else:
            self._port = self._server.add_secure_port("localhost:0", self._server_credentials)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _unary(self, request: Any, context: Any) -> bytes:
        await self._note(context)
        return b"answer"

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        await self._note(context)
        for _ in range(3):
            yield b"answer"

    async def _note(self, context: Any) -> None:
        self.seen.append(dict(context.invocation_metadata()))
        reason = self.refuses(_bearer(self.seen[-1]))
        if reason:
            context.set_trailing_metadata((("grpc-status-details-bin", details(reason)),))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Refused.")


def _bearer(metadata: dict[str, str]) -> str:
    return metadata.get("authorization", "").removeprefix("Bearer ")


def details(reason: str) -> bytes:
    """Status details that carry a reason."""
    status = status_pb2.Status(code=16)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="auth.example.com"))
    return bytes(status.SerializeToString())


def method(channel: Any, shape: str = "UnaryUnary") -> Any:
    """The method of this shape, on a channel of either kind."""
    kinds = dict(zip(SHAPES, ("unary_unary", "unary_stream", "stream_unary", "stream_stream"), strict=True))
    return getattr(channel, kinds[shape])(f"/{NAME}/{shape}")


async def call_all(channel: grpc.aio.Channel) -> None:
    """Make a call of each shape, and read it to its end."""
    await method(channel)(b"ask")
    async for _ in method(channel, "UnaryStream")(b"ask"):
        pass
    await method(channel, "StreamUnary")(iter([b"ask", b"ask"]))
    async for _ in method(channel, "StreamStream")(iter([b"ask", b"ask"])):
        pass


def call_all_sync(channel: grpc.Channel) -> None:
    """The same, from a thread."""
    method(channel)(b"ask")
    assert list(method(channel, "UnaryStream")(b"ask")) == [b"answer"] * 3
    method(channel, "StreamUnary")(iter([b"ask", b"ask"]))
    assert list(method(channel, "StreamStream")(iter([b"ask", b"ask"]))) == [b"answer"] * 3
