"""Owns what callers through the edge do over and over. Leaves the edge to `edge`."""

import itertools

import grpc.aio

from authsvc.core.cookies import SESSION
from benchmarks.callers import TIMEOUT_S, Call, check
from benchmarks.echo import METHOD
from benchmarks.seed import Seeded
from benchmarks.service import ISSUER

# Sessions whose tokens are ready after a moment; the rest come once each in a run.
_KNOWN = 64


class Known:
    """The echo through Envoy, with the cookies of a few sessions, as a page of theirs sends them."""

    def __init__(self, seeded: Seeded) -> None:
        self._sessions = itertools.cycle(seeded.session_tokens[:_KNOWN])
        self._request = bytes(range(64))

    async def begin(self, channel: grpc.aio.Channel) -> None:
        pass

    def caller(self, channel: grpc.aio.Channel) -> Call:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def call() -> None:
            token, _ = next(self._sessions)
            metadata = (("cookie", f"{SESSION}={token}"), ("origin", ISSUER))
            answer = await method(self._request, metadata=metadata, timeout=TIMEOUT_S)
            check(answer == self._request, "echo")

        return call


class New(Known):
    """The same with a session that has not come before: its token is signed on the way."""

    def __init__(self, seeded: Seeded) -> None:
        super().__init__(seeded)
        self._sessions = itertools.cycle(seeded.session_tokens[_KNOWN:])
