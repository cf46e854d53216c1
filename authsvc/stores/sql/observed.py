"""Owns timing statements, and their spans where traces are collected. Leaves running them to the database inside."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import lru_cache
from time import perf_counter
from types import TracebackType
from typing import Any

from sqlalchemy import ClauseElement

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.durations import Durations
from authsvc.core.model import AuditEvent
from authsvc.core.spans import Spans
from authsvc.stores.sql.compiled import NO_VALUES, Values
from authsvc.stores.sql.database import Change, Database, Place, Rows, Transaction

_NO_SPAN: AbstractContextManager[Any] = nullcontext()


class StatementNumbers:
    """How long statements took, by kind (`read`, `change`, `write`), and how many failed."""

    def __init__(self) -> None:
        self.durations = {kind: Durations() for kind in ("read", "change", "write")}
        self.failed = 0


class ObservedDatabase(Database):
    """A database that is watched at its work."""

    def __init__(self, inner: Database, spans: Spans | None) -> None:
        self._inner = inner
        self._spans = spans
        self.pools = inner.pools
        self.numbers = StatementNumbers()

    async def read(
        self, statement: ClauseElement, values: Values = NO_VALUES, place: Place = Place.ORDINARY
    ) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""
        with _Timed(self.numbers, "read"), self._span(statement):
            return await self._inner.read(statement, values, place)

    async def change(
        self, statement: Change, values: Values = NO_VALUES, event: AuditEvent | None = None
    ) -> Rows:
        """Run one statement that changes something."""
        with _Timed(self.numbers, "change"), self._span(statement):
            return await self._inner.change(statement, values, event)

    @asynccontextmanager
    async def write(self, *, reserved: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction."""
        span = self._spans.store("sql transaction") if self._spans else _NO_SPAN
        with _Timed(self.numbers, "write"), span:
            async with self._inner.write(reserved=reserved) as transaction:
                yield transaction

    async def close(self) -> None:
        """Close every connection."""
        await self._inner.close()

    def _span(self, statement: ClauseElement) -> AbstractContextManager[Any]:
        return self._spans.store(_name_of(statement)) if self._spans else _NO_SPAN


class _Timed:
    """Times the block; a store that did not answer is counted as such."""

    __slots__ = ("_kind", "_numbers", "_started")

    def __init__(self, numbers: StatementNumbers, kind: str) -> None:
        self._numbers = numbers
        self._kind = kind

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._numbers.durations[self._kind].add(perf_counter() - self._started)
        if isinstance(error, StoreUnavailable):
            self._numbers.failed += 1


@lru_cache(maxsize=256)
def _name_of(statement: ClauseElement) -> str:
    """What a statement does, and to which table; its text may be long, and says no more."""
    table = getattr(statement, "table", None)
    if table is None and hasattr(statement, "get_final_froms"):
        table = next(iter(statement.get_final_froms()), None)
    name = getattr(table, "name", "")
    return f"sql {statement.__visit_name__} {name}".rstrip()
