"""Owns what a database is to the stores. Leaves connections to `postgresql` and `sqlite`.

Statements are built with SQLAlchemy Core and are the same for both. Two ways to change something: `change` is one
statement, committed when it returns (on PostgreSQL one round trip); `write` is a transaction of several.

What must get through when everything else is busy has connections of its own: see `Place`.

Every method may raise StoreUnavailable, and then nothing is known; and failures.RuleBroken.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from typing import Any

from sqlalchemy import ClauseElement, Delete, Insert, Select, Update, text

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.compiled import NO_VALUES, Values
from authsvc.stores.sql.pool import Pool

Row = Sequence[Any]
Rows = Sequence[Row]
Change = Insert | Update | Delete | Select[*tuple[Any, ...]]
"""A statement that changes something; of a SELECT, parts of it do (on PostgreSQL)."""

_SIGN_OF_LIFE = text("SELECT 1")


class Place(Enum):
    """Whose connections to use."""

    ORDINARY = auto()
    REVOKING = auto()
    """For what ends things, and what has to be looked up for it."""
    FOLLOWING = auto()
    """For reading the revocation log. One reader at a time."""


class Transaction(ABC):
    """A transaction under way."""

    @abstractmethod
    async def run(self, statement: ClauseElement, values: Values = NO_VALUES) -> Rows:
        """Run a statement and return its rows."""

    @abstractmethod
    async def run_many(self, statement: ClauseElement, many: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""


class Database(ABC):
    """One database, PostgreSQL or SQLite."""

    pools: Mapping[str, Pool]
    """Its pools of connections, by what they are for."""

    @abstractmethod
    async def read(
        self, statement: ClauseElement, values: Values = NO_VALUES, place: Place = Place.ORDINARY
    ) -> Rows:
        """Return the rows of one SELECT, as of the newest commit."""

    @abstractmethod
    async def change(
        self, statement: Change, values: Values = NO_VALUES, event: AuditEvent | None = None
    ) -> Rows:
        """Run one statement that changes something, and return its rows once it is committed.

        With an event: if there are any rows, the event is committed together with the change. An event that names no
        user is about the user that the row names (a column `user_id`).
        """

    @abstractmethod
    def write(self, *, reserved: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction, committed at the end of the block and rolled back if the block raises. `reserved`: in a
        place for revoking."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self.read(_SIGN_OF_LIFE)
