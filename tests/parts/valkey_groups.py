"""Groups of real Valkey servers for tests: a cluster of three primaries, and a pair watched by a Sentinel."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from authsvc.stores.embedded import EmbeddedValkey, free_port, spawn_server
from tests.parts.valkey import until

SLOTS = 16384


async def ask(client: redis.Redis, *command: str | int) -> Any:
    """Send any command."""
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def start_cluster(directory: Path) -> list[EmbeddedValkey]:
    """Start three primaries with a third of the slots each, the first third on the first."""
    password = secrets.token_urlsafe(24)
    servers, buses = [], []
    for number in range(3):
        buses.append(free_port())
        settings = {"cluster-enabled": "yes", "cluster-port": str(buses[-1]), "cluster-node-timeout": "2000"}
        servers.append(EmbeddedValkey(directory / f"node{number}", settings, password))
        await servers[-1].start()
    for number, server in enumerate(servers):
        async with redis.Redis.from_url(server.url) as client:
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            await ask(client, "CLUSTER ADDSLOTSRANGE", first, last)
            await ask(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number:
                await ask(client, "CLUSTER MEET", "127.0.0.1", servers[0].port, buses[0])
    await until(lambda: cluster_is_whole(servers), within_s=20)
    return servers


async def stop_cluster(servers: list[EmbeddedValkey]) -> None:
    """Stop them all."""
    for server in servers:
        await server.stop()


async def cluster_is_whole(servers: list[EmbeddedValkey]) -> bool:
    """Whether each of them sees all of them."""
    for server in servers:
        async with redis.Redis.from_url(server.url) as client:
            view = await ask(client, "CLUSTER INFO")
        if (view["cluster_state"], view["cluster_size"]) != ("ok", "3"):
            return False
    return True


async def move_slot(servers: list[EmbeddedValkey], slot: int, to: int) -> None:
    """Give an empty slot to another primary, and tell all of them."""
    async with redis.Redis.from_url(servers[to].url) as client:
        new_owner = await ask(client, "CLUSTER MYID")
    for server in sorted(servers, key=lambda server: server is not servers[to]):
        async with redis.Redis.from_url(server.url) as client:
            await ask(client, "CLUSTER SETSLOT", slot, "NODE", new_owner)


@dataclass(frozen=True)
class Pair:
    """A primary, its replica, and the URL by which a Sentinel names the primary."""

    primary: EmbeddedValkey
    replica: EmbeddedValkey
    url: str
    sentinel_port: int


@asynccontextmanager
async def sentinel_pair(directory: Path) -> AsyncIterator[Pair]:
    """A primary and a replica, and one Sentinel that fails over after half a second."""
    password = secrets.token_urlsafe(24)
    settings = {"masterauth": password, "repl-diskless-sync-delay": "0"}
    async with AsyncExitStack() as stack:
        primary = EmbeddedValkey(directory / "primary", settings, password)
        await primary.start()
        stack.push_async_callback(primary.stop)
        settings = settings | {"replicaof": f"127.0.0.1 {primary.port}"}
        replica = EmbeddedValkey(directory / "replica", settings, password)
        await replica.start()
        stack.push_async_callback(replica.stop)
        await until(lambda: _is_in_step(replica), within_s=10)

        port = free_port()
        sentinel = spawn_server(
            str(_sentinel_settings(directory, port, primary.port, password)), "--sentinel"
        )
        stack.callback(sentinel.wait)
        stack.callback(sentinel.kill)
        assert sentinel.stdin is not None
        sentinel.stdin.close()
        await until(lambda: _knows_replica(port), within_s=10)
        yield Pair(primary, replica, f"redis+sentinel://:{password}@127.0.0.1:{port}/main", port)


async def name_primary(pair: Pair, server: EmbeddedValkey) -> None:
    """Have the Sentinel name another server, and leave the former one as it is."""
    async with redis.Redis(port=pair.sentinel_port) as client:
        await ask(client, "SENTINEL REMOVE", "main")
        await ask(client, "SENTINEL MONITOR", "main", "127.0.0.1", server.port, 1)


def _sentinel_settings(directory: Path, port: int, primary_port: int, password: str) -> Path:
    """Write the Sentinel's settings; it rewrites the file by itself, so they cannot go over stdin."""
    path = directory / "sentinel.conf"
    path.touch(mode=0o600)
    path.write_text(
        f"port {port}\n"
        "bind 127.0.0.1\n"
        f'dir "{directory}"\n'
        f"sentinel monitor main 127.0.0.1 {primary_port} 1\n"
        f"sentinel auth-pass main {password}\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )
    return path


async def _is_in_step(replica: EmbeddedValkey) -> bool:
    async with redis.Redis.from_url(replica.url) as client:
        return (await client.info("replication")).get("master_link_status") == "up"


async def _knows_replica(port: int) -> bool:
    async with redis.Redis(port=port) as client:
        try:
            return len(await ask(client, "SENTINEL REPLICAS", "main")) == 1
        except redis.RedisError:
            return False
