"""Owns taking gRPC's handlers apart and putting them together again. Leaves what is put between to the interceptors."""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def behaviour(handler: Handler) -> Any:
    """The function of a handler."""
    if handler.response_streaming:
        return handler.stream_stream if handler.request_streaming else handler.unary_stream
    return handler.stream_unary if handler.request_streaming else handler.unary_unary


def is_stream(handler: Handler) -> bool:
    """Whether a call may stay open for long: either side sends more than one message."""
    return handler.request_streaming or handler.response_streaming


def is_async(handler: Handler) -> bool:
    """Whether grpc.aio runs the handler in the call's own task: a coroutine function or an async generator function."""
    function = behaviour(handler)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def like(handler: Handler, function: Any) -> Handler:
    """A handler of the same shape with another function."""
    if handler.response_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
    else:
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
    return make(function, handler.request_deserializer, handler.response_serializer)


def runner(handler: Handler) -> Callable[[Any, Any], Awaitable[Any]]:
    """The function as a coroutine that writes what it yields, which is what gRPC itself would do with it."""
    inner: Callable[[Any, Any], Any] = behaviour(handler)
    if inspect.iscoroutinefunction(inner):
        return inner

    async def run(request: Any, context: Any) -> None:
        async with aclosing(inner(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return run
