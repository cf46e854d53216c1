"""Owns what the stores ask of an arrangement of servers. Leaves the arrangements to `primary` and `cluster`."""

from collections.abc import Sequence
from typing import Any, Protocol

from authsvc.stores.valkey.address import Address
from authsvc.stores.valkey.connection import Connection


class Topology(Protocol):
    """The servers that are there now. Each key is served by exactly one."""

    @property
    def one_slot(self) -> bool:
        """Whether one script may touch any keys together."""

    def connection(self, tag: bytes) -> Connection:
        """Return the connection to the server of keys tagged `{tag}`. Raises StoreUnavailable at once if it is down."""

    async def primary(self) -> Address:
        """Return some primary, to subscribe at. Raises OSError or StoreUnavailable if none is known."""

    async def wait_up(self, timeout_s: float) -> bool:
        """Wait until every known server is connected; whether they are."""

    @property
    def is_up(self) -> bool:
        """Whether every known server is connected."""

    async def ask(self, *command: str) -> Sequence[Any]:
        """Send a command to every known server; return the replies. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Close all connections."""
