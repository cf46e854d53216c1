"""Owns how long it takes until a revocation is believed: `Revoke` has returned, and a verifier refuses the token.

A few real watchers, each with a verifier and a connection of its own. At the moment a watcher hears, its verifier is
given the token, as a call would. One that was refused before `Revoke` had returned took no time. Leaves the crowd
that follows the same instance to `following`.
"""

import asyncio
import itertools
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter

import grpc.aio
import psutil

from authsvc.core.model import Permission
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client import Verifier, Watcher
from authsvc_client.strict import TokenRevoked
from benchmarks.callers import TIMEOUT_S, check, metadata_of
from benchmarks.obeying import obey
from benchmarks.samples import Sample, percentile
from benchmarks.seed import AUDIENCES, SCOPES, Seeded
from benchmarks.service import ISSUER

RATE = 30
"""Revocations a second. They come at random times, so that they do not fall in step with rounds of telling."""


@dataclass(frozen=True, slots=True)
class Join:
    """Let one more watcher follow the instance at `address`."""

    address: str
    seeded: Seeded


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke sessions for so many seconds and measure; `pid` is the instance's."""

    address: str
    seeded: Seeded
    seconds: float
    pid: int


class _Witness:
    """A verifier that notes when it began to refuse tokens."""

    def __init__(self) -> None:
        self.verifier = Verifier(ISSUER, AUDIENCES[0])
        self.verifier.revocations.subscribe(self._hear)
        self._expected: dict[str, str] = {}
        self.refused_at: dict[str, float] = {}
        self.all_refused = asyncio.Event()

    def expect(self, session_id: str, token: str) -> None:
        """A token, good so far, that is going to be revoked."""
        self.verifier.verify(token)
        self._expected[session_id] = token
        self.all_refused.clear()

    def _hear(self, session_ids: frozenset[str] | None) -> None:
        for session_id in self._expected.keys() & (self._expected if session_ids is None else session_ids):
            try:
                self.verifier.verify(self._expected[session_id])
            except TokenRevoked:
                self.refused_at[session_id] = perf_counter()
                del self._expected[session_id]
        if not self._expected:
            self.all_refused.set()


class _Revoking:
    def __init__(self) -> None:
        self._witnesses: list[_Witness] = []
        self._watching = AsyncExitStack()
        self._sessions: itertools.chain[tuple[str, str]] | None = None
        self._random = random.Random(1)  # noqa: S311  not for secrets

    async def carry_out(self, order: Join | Revoke | None) -> Sample | None:
        """A watcher joins; or sessions are revoked; or, told None, all watchers leave."""
        match order:
            case Join(address, seeded):
                await self._join(address, seeded)
                return None
            case Revoke():
                return await self._revoke(order)
        await self._watching.aclose()
        self._witnesses = []
        return None

    async def _join(self, address: str, seeded: Seeded) -> None:
        witness, key = _Witness(), seeded.client_keys[Permission.INTROSPECT.value]
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = await self._watching.enter_async_context(grpc.aio.insecure_channel(address, options))
        watcher = await self._watching.enter_async_context(Watcher(channel, key, witness.verifier))
        await watcher.ready(30_000)
        self._witnesses.append(witness)

    async def _revoke(self, order: Revoke) -> Sample:
        if self._sessions is None:
            self._sessions = itertools.chain(order.seeded.session_tokens)
        async with grpc.aio.insecure_channel(order.address) as channel:
            count = max(5, round(order.seconds * RATE))
            tokens = [await _exchanged(channel, order.seeded, *next(self._sessions)) for _ in range(count)]
            process = psutil.Process(order.pid)
            began, before = perf_counter(), sum(process.cpu_times()[:2])
            called_at, returned_at = await self._revoke_each(channel, order.seeded, tokens)
            seconds, spent = perf_counter() - began, sum(process.cpu_times()[:2]) - before
            await self._see_all_refused()
        waited = [
            max(0, witness.refused_at.pop(session_id) - returned)
            for witness in self._witnesses
            for session_id, returned in returned_at.items()
        ]
        took = [returned - called_at[session_id] for session_id, returned in returned_at.items()]
        return Sample(
            cpu_us=float("nan"),
            rate=count / seconds,
            p50_ms=1000 * percentile(waited, 0.5),
            p99_ms=1000 * percentile(waited, 0.99),
            more={
                "max_ms": 1000 * max(waited),
                "revoke_p50_ms": 1000 * percentile(took, 0.5),
                "revoke_p99_ms": 1000 * percentile(took, 0.99),
                "server_cpu_percent": 100 * spent / seconds,
            },
        )

    async def _revoke_each(
        self, channel: grpc.aio.Channel, seeded: Seeded, tokens: list[tuple[str, str]]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Revoke one session after another, at random times. Return when each call was made and when it returned."""
        revoke, metadata = AuthServiceStub(channel).Revoke, metadata_of(seeded, Permission.ADMIN)
        called_at, returned_at = {}, {}
        for session_id, token in tokens:
            await asyncio.sleep(self._random.expovariate(RATE))
            for witness in self._witnesses:
                witness.expect(session_id, token)
            request = pb.RevokeRequest(session_id=session_id)
            called_at[session_id] = perf_counter()
            response = await revoke(request, metadata=metadata, timeout=TIMEOUT_S)
            returned_at[session_id] = perf_counter()
            check(response.revoked_count == 1, "Revoke")
        return called_at, returned_at

    async def _see_all_refused(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            for witness in self._witnesses:
                await witness.all_refused.wait()


async def _exchanged(
    channel: grpc.aio.Channel, seeded: Seeded, session_token: str, session_id: str
) -> tuple[str, str]:
    """The session's id and an access token of it."""
    request = pb.ExchangeSessionRequest(
        session_token=session_token, audiences=AUDIENCES[:1], scopes=SCOPES[:1]
    )
    metadata = metadata_of(seeded, Permission.INTROSPECT)
    exchange = AuthServiceStub(channel).ExchangeSession
    response = await exchange(request, metadata=metadata, timeout=TIMEOUT_S)
    return session_id, response.access_token


def run(orders: Connection) -> None:
    """Watch and revoke as told, until the other end goes."""
    asyncio.run(obey(orders, _Revoking().carry_out))
