"""Owns the revocation log: its numbers, its entries and its one row of state. Leaves what is revoked to the stores.

`UPDATE log_state SET revision = revision + n` locks the one row until the transaction ends. So the next transaction
numbers its entries only after this one has committed: numbers are in commit order, and a rollback gives them back.
For the same reason it comes as late as possible in a transaction.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from sqlalchemy import BigInteger, bindparam, select, update

from authsvc.core.model import LogPosition, Revocation
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.database import Database, Place, Transaction
from authsvc.stores.sql.rows import (
    POSITION_COLUMNS,
    REVOCATION_COLUMNS,
    position,
    revocation,
    revocation_values,
)
from authsvc.stores.sql.schema import log_state, revocations

_PAGE = 1_000

_NUMBER = (
    update(log_state)
    .values(revision=log_state.c.revision + bindparam("count", type_=BigInteger))
    .returning(log_state.c.revision)
)
_BUMP_EPOCH = update(log_state).values(epoch=log_state.c.epoch + 1).returning(log_state.c.epoch)
_BUMP_REGISTRY = update(log_state).values(registry=log_state.c.registry + 1)
_POSITION = select(*POSITION_COLUMNS)
_INSERT = insert_whole(revocations)
_SINCE = (
    select(*REVOCATION_COLUMNS)
    .where(revocations.c.revision > bindparam("after"))
    .order_by(revocations.c.revision)
    .limit(bindparam("limit"))
)
_LIVE_UP_TO = _SINCE.where(
    revocations.c.revision <= bindparam("newest"), revocations.c.expires_at > bindparam("now")
)


class RevocationLog:
    """core.contracts.RevocationLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def position(self) -> LogPosition:
        """Return where the log stands."""
        return position((await self._database.read(_POSITION, place=Place.FOLLOWING))[0])

    async def list_since(self, revision: int, limit: int) -> Sequence[Revocation]:
        """Return entries after `revision` in order, none skipped."""
        rows = await self._database.read(_SINCE, {"after": revision, "limit": limit}, Place.FOLLOWING)
        return [revocation(row) for row in rows]

    async def snapshot(self, now: int) -> tuple[LogPosition, AsyncIterator[Sequence[Revocation]]]:
        """Return a position and pages of entries unexpired at `now` with revisions up to it."""
        newest = await self.position()
        return newest, self._pages(newest.revision, now)

    async def _pages(self, newest: int, now: int) -> AsyncIterator[Sequence[Revocation]]:
        """Page by page, each in a statement of its own: entries up to a position never change."""
        values = {"after": 0, "newest": newest, "now": now, "limit": _PAGE}
        while rows := await self._database.read(_LIVE_UP_TO, values, Place.FOLLOWING):
            page = [revocation(row) for row in rows]
            yield page
            if len(page) < _PAGE:
                return
            values["after"] = page[-1].revision

    async def bump_epoch(self) -> int:
        """Make the whole cache cold, and return the new epoch."""
        async with self._database.write(reserved=True) as transaction:
            [[epoch]] = await transaction.run(_BUMP_EPOCH)
        return int(epoch)


async def append(transaction: Transaction, entries: Sequence[Revocation]) -> tuple[Revocation, ...]:
    """Number entries and write them within the transaction under way; return them numbered.

    Nothing but the commit should follow, as every other revocation waits for it.
    """
    if not entries:
        return ()
    [[last]] = await transaction.run(_NUMBER, {"count": len(entries)})
    first = last - len(entries) + 1
    numbered = tuple(replace(entry, revision=first + place) for place, entry in enumerate(entries))
    await transaction.run_many(_INSERT, [revocation_values(entry) for entry in numbered])
    return numbered


async def bump_registry(transaction: Transaction) -> None:
    """Say, within the transaction under way, that clients or keys have changed."""
    await transaction.run(_BUMP_REGISTRY)
