"""Owns what callers of the guarded echo do over and over. Leaves guarding to `guarded`."""

import itertools
from collections.abc import Iterator

import grpc.aio

from benchmarks.callers import TIMEOUT_S, Call, check
from benchmarks.echo import METHOD
from benchmarks.seed import Seeded


class _Guarded:
    """Sends what the bare echo is sent, and a bearer."""

    _bearers: Iterator[str]

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        request = bytes(range(64))

        async def call() -> None:
            metadata = (("authorization", f"Bearer {next(self._bearers)}"),)
            check(await method(request, metadata=metadata, timeout=TIMEOUT_S) == request, "guarded echo")

        return call


class WithAccessToken(_Guarded):
    """One access token a call, of thousands, each of which the guard has seen before."""

    def __init__(self, seeded: Seeded) -> None:
        self._tokens = [token for token, _ in seeded.access_tokens]
        self._bearers = itertools.cycle(self._tokens)

    async def begin(self, channel: grpc.aio.Channel) -> None:
        call = self.caller(channel)
        for _ in self._tokens:
            await call()


class WithSessionToken(_Guarded):
    """One session token a call, which the guard has to ask authsvc about."""

    def __init__(self, seeded: Seeded) -> None:
        self._bearers = itertools.cycle(token for token, _ in seeded.session_tokens)
