"""Owns the arrangement with one primary: always the same server, or the one that Sentinels name at the moment."""

import asyncio
import contextlib
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

# How soon a failover is noticed when the old primary still answers us.
_RECHECK_S = 1.0


class StandalonePrimary:
    """One server, always the same."""

    one_slot = True

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._link = Link("server", self._dial)

    def connection(self, tag: bytes) -> Connection:
        return self._link.connection

    async def primary(self) -> Address:
        return self._address

    async def wait_up(self, timeout_s: float) -> bool:
        return await self._link.wait_up(timeout_s)

    @property
    def is_up(self) -> bool:
        return self._link.is_up

    async def ask(self, *command: str) -> Sequence[Any]:
        return [await self._link.connection.call(*command)]

    async def close(self) -> None:
        await self._link.close()

    async def _dial(self) -> Connection:
        return await dial(await self.primary(), self._timeout_s)


class SentinelPrimary(StandalonePrimary):
    """The primary that the sentinels name, asked anew on each dial and once a second."""

    def __init__(
        self, sentinels: tuple[Address, ...], service: str, entry: Address, timeout_s: float
    ) -> None:
        self._sentinels = sentinels
        self._service = service
        super().__init__(entry, timeout_s)
        self._watch = asyncio.create_task(self._follow(), name="cache sentinel watch")
        self._dialled: Address | None = None

    async def primary(self) -> Address:
        for sentinel in self._sentinels:
            with contextlib.suppress(RedisError, OSError):
                async with open_client(sentinel, self._timeout_s) as client:
                    found = await client.execute_command(  # type: ignore[no-untyped-call]
                        "SENTINEL GET-MASTER-ADDR-BY-NAME", self._service
                    )
                if found:
                    return self._address.at(found[0].decode(), int(found[1]))
        raise StoreUnavailable("no sentinel names a primary")

    async def close(self) -> None:
        await end_tasks([self._watch])
        await super().close()

    async def _dial(self) -> Connection:
        self._dialled = address = await self.primary()
        return await dial(address, self._timeout_s)

    async def _follow(self) -> None:
        """Leave a server that is no longer the primary but still answers."""
        while True:
            await asyncio.sleep(_RECHECK_S)
            with contextlib.suppress(StoreUnavailable):
                if await self.primary() != self._dialled:
                    self._link.drop("the sentinels name another primary")
