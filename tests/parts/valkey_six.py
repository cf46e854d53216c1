"""A cluster of six real Valkey servers for tests: three primaries, a replica of each. A primary may die, slots move."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio as redis

from authsvc.stores.embedded import EmbeddedValkey, free_port
from tests.parts.valkey import until
from tests.parts.valkey_groups import SLOTS, ask

PRIMARIES = 3


@dataclass
class SixNodes:
    """Primaries come first; after a failover a replica serves in the place of its primary."""

    servers: list[EmbeddedValkey]
    password: str

    @property
    def url(self) -> str:
        """Where the cluster is found, through any of three of its nodes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:PRIMARIES])
        return f"redis+cluster://:{self.password}@{hosts}"

    async def kill_primary(self, number: int) -> None:
        """Kill a primary, and return when the others have its replica in its place."""
        await self.servers[number].kill()
        others = [server for place, server in enumerate(self.servers) if place != number]
        await until(lambda: _agree(others), within_s=30)

    async def move_slot(self, slot: int) -> None:
        """Move a slot with all that is in it to the next primary, as `valkey-cli --cluster reshard` does."""
        source = slot * PRIMARIES // SLOTS
        here, there = self.servers[source], self.servers[(source + 1) % PRIMARIES]
        async with redis.Redis.from_url(here.url) as giving, redis.Redis.from_url(there.url) as taking:
            giver, taker = await ask(giving, "CLUSTER MYID"), await ask(taking, "CLUSTER MYID")
            await ask(taking, "CLUSTER SETSLOT", slot, "IMPORTING", giver)
            await ask(giving, "CLUSTER SETSLOT", slot, "MIGRATING", taker)
            while keys := await ask(giving, "CLUSTER GETKEYSINSLOT", slot, 100):
                command = ("MIGRATE", "127.0.0.1", there.port, "", 0, 5000, "AUTH", self.password, "KEYS")
                await ask(giving, *command, *keys)
            for node in (taking, giving):
                await ask(node, "CLUSTER SETSLOT", slot, "NODE", taker)


@asynccontextmanager
async def six_nodes(directory: Path) -> AsyncIterator[SixNodes]:
    """Run such a cluster for as long as the block runs."""
    password = secrets.token_urlsafe(24)
    buses = [free_port() for _ in range(2 * PRIMARIES)]
    servers: list[EmbeddedValkey] = []
    try:
        for number, bus in enumerate(buses):
            settings = {"cluster-enabled": "yes", "cluster-port": str(bus), "cluster-node-timeout": "1000"}
            settings |= {
                "masterauth": password,
                "repl-diskless-sync-delay": "0",
                "cluster-slave-validity-factor": "0",
            }
            servers.append(EmbeddedValkey(directory / f"node{number}", settings, password))
            await servers[-1].start()
        await _join(servers, buses)
        await until(lambda: _agree(servers), within_s=30)
        yield SixNodes(servers, password)
    finally:
        for server in servers:
            await server.kill()


async def _join(servers: list[EmbeddedValkey], buses: list[int]) -> None:
    names = []
    for number, server in enumerate(servers):
        async with redis.Redis.from_url(server.url) as client:
            names.append(await ask(client, "CLUSTER MYID"))
            await ask(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                first, last = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES - 1
                await ask(client, "CLUSTER ADDSLOTSRANGE", first, last)
            if number:
                await ask(client, "CLUSTER MEET", "127.0.0.1", servers[0].port, buses[0])
    for number, server in enumerate(servers[PRIMARIES:]):
        await until(lambda: _replicates(server, names[number]), within_s=20)  # noqa: B023  awaited at once


async def _replicates(server: EmbeddedValkey, primary: str) -> bool:
    """Whether it has become a replica; it can once it has heard of the primary."""
    async with redis.Redis.from_url(server.url) as client:
        try:
            await ask(client, "CLUSTER REPLICATE", primary)
        except redis.ResponseError:
            return False
        return (await client.info("replication")).get("master_link_status") == "up"


async def _agree(servers: list[EmbeddedValkey]) -> bool:
    """Whether all of them see every slot served."""
    for server in servers:
        async with redis.Redis.from_url(server.url) as client:
            view = await ask(client, "CLUSTER INFO")
        if (view["cluster_state"], view["cluster_size"]) != ("ok", str(PRIMARIES)):
            return False
        if view["cluster_slots_fail"] != "0" or view["cluster_slots_pfail"] != "0":
            return False
    return True
