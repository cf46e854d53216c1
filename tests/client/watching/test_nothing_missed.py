"""No revocation is missed, whatever happens to the stream and to the server.

A run of seconds with `make test`; all of it, some minutes, with AUTHSVC_LONG_TESTS=1 in the environment.
"""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest

from authsvc.core.clock import DAY, HOUR
from authsvc.core.model import AuditEvent, Client, ClientKey, Permission
from authsvc.core.tokens import TokenMint
from authsvc.outside import wall_clock
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client import Verifier, Watcher, WatcherThread
from authsvc_client.verifying import Revocations
from tests.parts import processes, records
from tests.parts.cutting import Cutting, cutting
from tests.parts.service import bearer, settings_for

LONG = "AUTHSVC_LONG_TESTS" in os.environ
REVOCATIONS, CUTS, RESTARTS = (10_000, 100, 10) if LONG else (240, 10, 2)
REVOKERS = 4
PATIENCE_MS = 60_000
_log = logging.getLogger(__name__)


@dataclass
class Servers:
    """The one server that runs at a time, behind a wire for its callers and one for its followers."""

    settings: dict[str, str]
    callers: Cutting
    followers: Cutting
    _running: ExitStack = field(default_factory=ExitStack)
    _serving: processes.Serving | None = None

    async def start(self) -> None:
        """Start one; return when it serves."""
        self._serving = self._running.enter_context(processes.serve(**self.settings))
        address = await asyncio.to_thread(lambda: self._serving and self._serving.address)
        port = int(str(address).rpartition(":")[2])
        self.callers.server_port = self.followers.server_port = port

    async def restart(self, kill: bool) -> None:
        """End it, asking nicely or without a word, and start another."""
        if not kill and self._serving is not None:
            await asyncio.to_thread(self._serving.terminate)
        await asyncio.to_thread(self.stop)
        await self.start()

    def stop(self) -> None:
        """Kill what runs."""
        self._running.close()


@dataclass
class Audit:
    """Compares what was acknowledged with what a view refuses."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    unchecked: list[tuple[int, str]] = field(default_factory=list)

    def acknowledge(self, session_id: str, revision: int) -> None:
        """This session is revoked, and whoever has reached `revision` must know."""
        self.acknowledged[session_id] = revision
        if revision:  # a repeated request is not told it
            self.unchecked.append((revision, session_id))

    def missed(self, views: list[Revocations]) -> list[str]:
        """Sessions that a view should refuse by its own revision, and does not; each is asked about once."""
        reached = min(view.revision for view in views)
        due = [session_id for revision, session_id in self.unchecked if revision <= reached]
        self.unchecked = [each for each in self.unchecked if each[0] > reached]
        return [
            session_id for session_id in due if not all(view.revokes_session(session_id) for view in views)
        ]


@pytest.fixture
async def stores(sqlite_url: str) -> AsyncIterator[SqlStores]:
    """The stores of the server's database, to fill them."""
    opened = open_stores(sqlite_url)
    yield opened
    await opened.close()


async def add_client(stores: SqlStores, url: str) -> str:
    """A client that may do all that is asked here; return its key."""
    settings = settings_for(url, "none", secret_keys=processes.SECRET)
    key, now = TokenMint(settings.secrets, os.urandom).client_key(), wall_clock()
    client = Client("everything", "", frozenset(Permission), (), (), now)
    event = AuditEvent("client.created", now)
    assert await stores.clients.create(client, ClientKey(key.token_hash, client.id, now), event)
    return key.text


async def add_sessions(stores: SqlStores, count: int) -> list[str]:
    """Live sessions of one user; return their ids."""
    user, now = await records.add_user(stores), wall_clock()
    times = {"created_at": now, "seen_at": now, "session_expires_at": now + HOUR}
    times |= {"refresh_expires_at": now + DAY, "refresh_idle_expires_at": now + DAY}
    return [(await records.add_session(stores, user, **times)).id for _ in range(count)]


async def revoke_until_acknowledged(
    stub: "auth_service_pb2_grpc.AuthServiceAsyncStub", key: str, session_id: str
) -> int:
    """Revoke a session, again and again until it is acknowledged; return the revision, 0 if it had been before."""
    while True:
        try:
            request = pb.RevokeRequest(session_id=session_id)
            response = await stub.Revoke(request, metadata=bearer(key), timeout=5)
            return response.revision
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(wire: Cutting, key: str, views: list[Revocations]) -> AsyncIterator[None]:
    """Two watchers behind the wire, one on the loop and one on threads, each with a view of its own."""
    verifiers = [Verifier(processes.ISSUER, "orders", revocations=view) for view in views]
    on_threads = WatcherThread(wire.address, key, verifiers[1])
    async with Watcher(wire.address, key, verifiers[0]) as on_the_loop:
        on_threads.start()
        await on_the_loop.ready()
        try:
            await asyncio.to_thread(on_threads.ready)
            yield
        finally:
            await asyncio.to_thread(on_threads.stop)


def plan(chance: random.Random) -> dict[int, str]:
    """What happens after how many revocations, at random places."""
    places = chance.sample(range(1, REVOCATIONS), CUTS + RESTARTS)
    what = ["cut"] * CUTS + ["kill", "terminate"] * (RESTARTS // 2)
    return dict(zip(places, what, strict=True))


async def test_no_revocation_is_missed(
    tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey, stores: SqlStores
) -> None:
    """Whoever has reached a revision refuses everything revoked up to it: through cuts, restarts and kill -9."""
    seed = random.randrange(10**6)
    _log.warning("seed %d", seed)
    key, session_ids = await add_client(stores, sqlite_url), await add_sessions(stores, REVOCATIONS)
    views, audit, left = [Revocations(), Revocations()], Audit(), list(session_ids)
    snapshots: list[None] = []
    for view in views:
        view.subscribe(lambda told: snapshots.append(None) if told is None else None)
    async with cutting(0) as callers, cutting(0) as followers, AsyncExitStack() as cleanup:
        servers = Servers(processes.settings_of(tmp_path, sqlite_url, valkey.url), callers, followers)
        cleanup.push_async_callback(asyncio.to_thread, servers.stop)
        await servers.start()
        happens = plan(random.Random(seed))
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]

        async def revoke(stub: "auth_service_pb2_grpc.AuthServiceAsyncStub") -> None:
            while left:
                session_id = left.pop()
                audit.acknowledge(session_id, await revoke_until_acknowledged(stub, key, session_id))
                assert audit.missed(views) == []
                match happens.pop(len(audit.acknowledged), None):
                    case "cut":
                        followers.cut()
                    case str() as how:
                        await servers.restart(kill=how == "kill")

        async with (
            grpc.aio.insecure_channel(callers.address, options) as channel,
            watching(followers, key, views),
        ):
            await asyncio.gather(
                *(revoke(auth_service_pb2_grpc.AuthServiceStub(channel)) for _ in range(REVOKERS))
            )
            newest = max(audit.acknowledged.values())
            for view in views:
                await view.wait_for_revision(newest, PATIENCE_MS)

    _log.warning("%d connections, %d snapshots", followers.connections, len(snapshots))
    assert happens == {}
    assert newest == REVOCATIONS
    assert [[each for each in session_ids if not view.revokes_session(each)] for view in views] == [[], []]
