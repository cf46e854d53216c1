"""Owns guarding plain functions on a grpc.aio server, which run in its thread pool. Leaves coroutines to `interceptor`.

The pool does not carry contextvars along, so each call brings its own context. A stream of a plain function can only be
ended between two of its messages: nothing can interrupt a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from typing import Any

from authsvc_client.guarding.judging import Lifetime, refused_by
from authsvc_client.guarding.principal import Who
from authsvc_client.guarding.refusals import Refusals, Refused

Behaviour = Callable[[Any, Any], Any]


class Follower:
    """Looks, from a thread of the pool, whether a stream may go on."""

    def __init__(
        self, lifetime: Lifetime, refusals: Refusals, recheck: Callable[[Lifetime], Awaitable[Who]]
    ) -> None:
        self._lifetime = lifetime
        self._refusals = refusals
        self._recheck = recheck
        self._loop = asyncio.get_running_loop()

    def check(self, context: Any) -> None:
        """Return if the stream may go on; else end it."""
        try:
            self._lifetime.check()
            if self._lifetime.needs_remote_check():
                asked = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
                self._lifetime.renew(asked.result())
        except Exception as error:  # noqa: BLE001  a stream that cannot be judged must not go on
            status = self._refusals.status(refused_by(error) or Refused("INTERNAL"))
            context.abort(status.code, status.message, status.metadata)

    async def _ask(self) -> Who:
        return await self._recheck(self._lifetime)


def in_context(inner: Behaviour) -> Behaviour:
    """A function that runs in the context of now, whatever thread it runs in."""
    here = copy_context()
    return lambda request, context: here.run(inner, request, context)


def answering_once(inner: Behaviour, follower: Follower) -> Behaviour:
    """A function of a stream of requests: looked at before each of them."""
    here = copy_context()
    return lambda requests, context: here.run(inner, _followed(requests, context, follower), context)


def answering_often(inner: Behaviour, follower: Follower | None) -> Behaviour:
    """A function that returns an iterator, whose steps run in the context of now; looked at before each response."""
    here = copy_context()

    def responses(request: Any, context: Any) -> Iterator[Any]:
        iterator = here.run(iter, here.run(inner, request, context))
        nothing = object()
        while (response := here.run(next, iterator, nothing)) is not nothing:
            if follower is not None:
                follower.check(context)
            yield response

    return responses


def _followed(requests: Iterator[Any], context: Any, follower: Follower) -> Iterator[Any]:
    for request in requests:
        follower.check(context)
        yield request
