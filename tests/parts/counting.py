"""Counting what an instance asks of its stores: SQL statements as they are given, Valkey commands as it counts them."""

import asyncio
from collections import Counter
from typing import Any

import pytest
import redis.asyncio

from tests.parts.service import Service

# What signing the roll takes: one script, and these within it.
_ROLL = ("hset", "hgetall", "pexpire", "time")
# What connections and subscriptions do by themselves, and what the counting does.
_HOUSEKEEPING = {
    "info",
    "ping",
    "auth",
    "role",
    "script|load",
    "select",
    "subscribe",
    "client|setinfo",
    "hello",
}


class Statements:
    """The SQL statements of an instance since the last `clear`, but for what it does by itself: following the log,
    cleaning up."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[str] = []
        self.writes: list[str] = []
        self._app = service.app
        self._database = service.app.stores.database
        monkeypatch.setattr(self._database, "read", self._counted(self._database.read, self.reads))
        monkeypatch.setattr(self._database, "change", self._counted(self._database.change, self.writes))
        monkeypatch.setattr(self._database, "write", self._transaction(self._database.write))

    def clear(self) -> None:
        """Begin to count anew."""
        self.reads.clear()
        self.writes.clear()

    def _counted(self, inner: Any, into: list[str]) -> Any:
        def counted(statement: Any, *args: Any, **named: Any) -> Any:
            text = str(statement)
            of_itself = asyncio.current_task() in self._app._background
            if not of_itself and "log_state" not in text and "FROM revocations" not in text:
                into.append(text)
            return inner(statement, *args, **named)

        return counted

    def _transaction(self, inner: Any) -> Any:
        def counted(*args: Any, **named: Any) -> Any:
            if asyncio.current_task() not in self._app._background:
                self.writes.append("a transaction")
            return inner(*args, **named)

        return counted


async def settled(service: Service) -> None:
    """Wait until an instance that has just started has read its clients and keys for the last time."""
    await service.app._tail.poll()
    app = service.app
    while app._reloaded != app._tail.position.registry:
        await app._reload()
    await asyncio.gather(*(task for task in app._background if "_reload" in repr(task)))


async def commands(inside: "redis.asyncio.Redis") -> Counter[str]:
    """How often each command ran since the server was last told to forget; those within scripts count, too."""
    stats: dict[str, Any] = await inside.info("commandstats")
    counts = Counter({name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()})
    counts["evalsha"] -= counts["hgetall"]
    for name in (*_ROLL, *(["evalsha"] if not counts["evalsha"] else [])):
        del counts[name]
    return Counter({name: calls for name, calls in counts.items() if name not in _HOUSEKEEPING})
