"""Owns the arrangement as a cluster: one link to each primary, and the map from slots to links.

A wrong map costs answers, never truth: a key asked of the wrong node is refused by that node (MOVED), the call raises
StoreUnavailable, and the map is read again. A key that moved meets another `run_id`, and is not believed either.
"""

import asyncio
import contextlib
import logging
from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from authsvc.background import end_tasks
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.valkey.address import Address
from authsvc.stores.valkey.clients import open_client
from authsvc.stores.valkey.connection import Connection
from authsvc.stores.valkey.dial import dial
from authsvc.stores.valkey.link import Link

_log = logging.getLogger(__name__)

_SLOTS = 16384

# How often the map is read: in calm, while something is missing, and at most.
_CALM_S = 10.0
_HURRY_S = 0.5
_GAP_S = 0.1

_Map = list[tuple[int, int, Address]]  # first slot, last slot, their primary


class Cluster:
    """A Topology of many primaries."""

    one_slot = False

    def __init__(self, seeds: tuple[Address, ...], timeout_s: float) -> None:
        """Find the cluster through any of `seeds`; all nodes are entered as the first of them is."""
        self._seeds = seeds
        self._timeout_s = timeout_s
        self._links: dict[Address, Link] = {}
        self._slots: list[Link | None] = [None] * _SLOTS
        self._mapped = asyncio.Event()
        self._stale = asyncio.Event()
        self._task = asyncio.create_task(self._keep_map(), name="cache cluster map")

    def connection(self, tag: bytes) -> Connection:
        link = self._slots[crc_hqx(tag, 0) % _SLOTS]
        if link is None:
            raise StoreUnavailable("no server for this slot is known")
        return link.connection

    async def primary(self) -> Address:
        for address, link in self._links.items():
            if link.is_up:
                return address
        raise StoreUnavailable("no connection to the cache")

    async def wait_up(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._mapped.wait()
                return all(await asyncio.gather(*(link.wait_up(timeout_s) for link in self._links.values())))
        except TimeoutError:
            return False

    @property
    def is_up(self) -> bool:
        return None not in self._slots and all(link.is_up for link in self._links.values())

    async def ask(self, *command: str) -> Sequence[Any]:
        if None in self._slots:
            raise StoreUnavailable("some slots have no server")
        return await asyncio.gather(*[link.connection.call(*command) for link in self._links.values()])

    async def close(self) -> None:
        await end_tasks([self._task])
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _keep_map(self) -> None:
        while True:
            self._stale.clear()
            found = await self._read_map()
            await self._apply(found)
            up = await asyncio.gather(*(link.wait_up(_HURRY_S) for link in self._links.values()))
            whole = bool(found) and None not in self._slots and all(up)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CALM_S if whole else _HURRY_S):
                    await self._stale.wait()
            await asyncio.sleep(_GAP_S)

    async def _read_map(self) -> _Map:
        """Ask one node after the other. Empty if none answers; then the old map stays."""
        for address in (*self._links, *self._seeds):
            try:
                async with open_client(address, self._timeout_s) as client:
                    reply = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
                return _parse_slots(reply, address)
            except (RedisError, OSError) as error:
                _log.info("no cluster map from %s: %s", address, type(error).__name__)
        return []

    async def _apply(self, found: _Map) -> None:
        if not found:
            return
        slots: list[Link | None] = [None] * _SLOTS
        for first, last, address in found:
            link = self._links.get(address) or self._open_link(address)
            slots[first : last + 1] = [link] * (last + 1 - first)
        self._slots = slots
        self._mapped.set()
        gone = self._links.keys() - {address for _, _, address in found}
        await asyncio.gather(*(self._links.pop(address).close() for address in gone))

    def _open_link(self, address: Address) -> Link:
        async def dial_node() -> Connection:
            return await dial(address, self._timeout_s, self._hear_error)

        link = self._links[address] = Link(str(address), dial_node, self._stale.set)
        return link

    def _hear_error(self, code: str) -> None:
        if code in {"MOVED", "CLUSTERDOWN"}:
            self._stale.set()


def _parse_slots(reply: list[Any], asked: Address) -> _Map:
    """Read CLUSTER SLOTS. A node without a host is the one that was asked."""
    found = []
    for first, last, primary, *_ in reply:
        host = (primary[0] or b"").decode()
        found.append((int(first), int(last), asked.at(host or asked.host, int(primary[1]))))
    return found
