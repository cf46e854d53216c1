"""Owns a whole deployment under test: several instances, PostgreSQL, Valkey with a replica, and the wires between."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import argon2

from authsvc.core.model import AuditEvent, Client, ClientKey, Permission, User
from authsvc.core.secrets import DeploymentSecrets
from authsvc.core.tokens import TokenMint
from authsvc.outside import wall_clock
from authsvc.stores.sql import SqlStores, open_stores
from tests.faults.instances import Instance
from tests.faults.proxy import to_port, to_socket, wire
from tests.faults.servers import Cache, Sql
from tests.parts.processes import SECRET, settings_of
from tests.parts.records import new_id
from tests.parts.service import PASSWORD

CLIENTS = {
    "web": frozenset({Permission.LOGIN}),
    "gateway": frozenset({Permission.INTROSPECT}),
    "root": frozenset({Permission.ADMIN}),
}
SCOPES = ("orders.read", "orders.write")
AUDIENCES = ("orders",)


@dataclass
class Deployment:
    """A running deployment, the keys of its clients, and the ids of its users by name."""

    directory: Path
    sql: Sql
    cache: Cache
    stores: SqlStores
    instances: list[Instance]
    keys: dict[str, str]
    mint: TokenMint
    user_ids: dict[str, str] = field(default_factory=dict)

    async def start(self) -> None:
        """Start every instance at once."""
        await asyncio.gather(*(instance.start() for instance in self.instances))

    def lead_to_primary(self) -> None:
        """Lead every wire to the cache's primary of the moment, and break what led elsewhere."""
        for instance in self.instances:
            instance.cache.upstream = self.cache.upstream
            instance.cache.reset()

    def heal(self) -> None:
        """Let everything through every wire."""
        for instance in self.instances:
            instance.sql.heal()
            instance.cache.heal()

    async def mend(self) -> None:
        """Heal everything, start what has ended, and return when every instance is sure of what it says."""
        self.heal()
        if not self.sql.is_running:
            await asyncio.to_thread(self.sql.start)
        await asyncio.gather(*(instance.start() for instance in self.instances if not instance.is_running))
        for instance in self.instances:
            await instance.serves(self.metadata("root"))

    async def add_users(self, names: Sequence[str]) -> None:
        """Create users with PASSWORD. One hash serves all of them: hashing is slow on purpose."""
        password_hash = argon2.PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1).hash(PASSWORD)
        for name in names:
            now = wall_clock()
            user = User(new_id(), name, SCOPES, now, None, now)
            assert await self.stores.users.create(user, name, password_hash, AuditEvent("user.created", now))
            self.user_ids[name] = user.id

    def metadata(self, client_id: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a call by this client."""
        return (("authorization", f"Bearer {self.keys[client_id]}"),)


@asynccontextmanager
async def deployment(
    count: int = 3,
    *,
    skews_ms: Sequence[int] = (),
    without: str = "",
    bound_ms: int = 0,
    users: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Deployment]:
    """Run so many instances for as long as the block runs; `skews_ms` is how far off each one's clock is.
    `bound_ms`: see `launching`."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authsvc-faults-")))
        sql = Sql()
        stack.callback(sql.remove)
        sql.start()
        sql.database = await sql.empty_migrated()
        stores = open_stores(sql.url(sql.database))
        stack.push_async_callback(stores.close)

        link = await stack.enter_async_context(wire(to_port(0)))
        cache = Cache(directory, link)
        stack.push_async_callback(cache.stop)
        await cache.start()

        mint = TokenMint(DeploymentSecrets([SECRET.encode()]), os.urandom)
        keys = await _add_clients(stores, mint)
        made = Deployment(directory, sql, cache, stores, [], keys, mint)
        for number in range(count):
            sql_wire = await stack.enter_async_context(wire(to_socket(sql.socket)))
            cache_wire = await stack.enter_async_context(wire(cache.upstream))
            url = f"postgresql://postgres@127.0.0.1:{sql_wire.port}/{sql.database}"
            given = settings_of(directory, url, cache.url(cache_wire.port)) | dict(settings or {})
            skew_ms = skews_ms[number] if number < len(skews_ms) else 0
            instance = Instance(
                number,
                directory,
                given,
                sql_wire,
                cache_wire,
                skew_ms=skew_ms,
                without=without,
                bound_ms=bound_ms,
            )
            stack.push_async_callback(instance.close)
            made.instances.append(instance)
        await made.add_users(users)
        await made.start()
        yield made


async def _add_clients(stores: SqlStores, mint: TokenMint) -> dict[str, str]:
    keys = {}
    for client_id, permissions in CLIENTS.items():
        key, now = mint.client_key(), wall_clock()
        client = Client(client_id, "", permissions, AUDIENCES, (), now)
        stored = ClientKey(key.token_hash, client_id, now)
        assert await stores.clients.create(client, stored, AuditEvent("client.created", now))
        keys[client_id] = key.text
    return keys


def now_ms() -> int:
    """The clock of histories."""
    return time.monotonic_ns() // 1_000_000
