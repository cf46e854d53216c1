"""Owns signing keys at rest. Leaves sealing to `core.signing_keys`, and when what is due to `core.key_lifecycle`.

Every change begins by incrementing the log's `registry`, and so holds the lock on that one row until it commits:
changes take turns, and each sees what the one before has done. (PostgreSQL reads anew for each statement; SQLite has
one writer anyway.) Keys change seldom, so nobody waits for long.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from sqlalchemy import BigInteger, LargeBinary, Update, bindparam, select, update

from authsvc.core.contracts import TaintOrder
from authsvc.core.model import AuditEvent, KeyState, Revocation, SigningKey, Subject
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.database import Database, Transaction
from authsvc.stores.sql.revocations import append, bump_registry
from authsvc.stores.sql.rows import SIGNING_KEY_COLUMNS, signing_key, signing_key_values, storable
from authsvc.stores.sql.schema import signing_keys

_row = signing_keys.c
_NOTHING_SEALED = b""

_INSERT = insert_whole(signing_keys)
_LIST_ALL = select(*SIGNING_KEY_COLUMNS).order_by(_row.created_at.desc(), _row.id)
_LIST = _LIST_ALL.where(_row.state != KeyState.RETIRED.value)

_at = bindparam("at", type_=BigInteger)
_to_one = update(signing_keys).where(_row.id == bindparam("key_id"))


def _from(statement: Update, state: KeyState) -> Update:
    return statement.where(_row.state == state.value).returning(_row.id)


_PLAN = _from(_to_one, KeyState.PREPARED).values(active_at=_at)
_ACTIVATE = _PLAN.values(state=KeyState.ACTIVE.value)
_STOP = _from(update(signing_keys), KeyState.ACTIVE).values(
    state=KeyState.RETIRING.value, retiring_at=_at, sealed_private=_NOTHING_SEALED
)
_RETIRE = (
    _from(update(signing_keys), KeyState.RETIRING)
    .where(_row.retiring_at < _at)
    .values(state=KeyState.RETIRED.value)
)
_TAINT = _to_one.values(
    state=KeyState.TAINTED.value,
    tainted_at=_at,
    taint_revision=bindparam("revision", type_=BigInteger),
    taint_comment=bindparam("comment"),
    sealed_private=_NOTHING_SEALED,
)
_RESEAL = (
    _to_one.where(_row.sealed_private == bindparam("sealed", type_=LargeBinary))
    .values(sealed_private=bindparam("resealed", type_=LargeBinary))
    .returning(_row.id)
)


class _NothingToDo(Exception):
    """Rolls a turn back that would change nothing, so that nobody reads keys anew for it."""


class KeyStore:
    """core.contracts.KeyStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, retired: bool = False) -> Sequence[SigningKey]:
        """Return every key, newest first; retired ones only if asked for."""
        return [signing_key(row) for row in await self._database.read(_LIST_ALL if retired else _LIST)]

    async def create_active(self, key: SigningKey, audit: AuditEvent) -> bool:
        """Insert an active key. False if there is one already."""
        return await self._insert(key, KeyState.ACTIVE, audit)

    async def prepare(self, key: SigningKey, audit: AuditEvent) -> bool:
        """Insert a prepared key. False if there is one already."""
        return await self._insert(key, KeyState.PREPARED, audit)

    async def plan(self, key_id: str, active_at: int, audit: AuditEvent) -> bool:
        """Say from when a prepared key is to sign. False if it is not prepared (any more)."""
        with suppress(_NothingToDo):
            async with self._turn() as transaction:
                if not await transaction.run(_PLAN, {"key_id": storable(key_id), "at": active_at}):
                    raise _NothingToDo
                await record_in(transaction, audit)
                return True
        return False

    async def activate(self, key_id: str, active_at: int, audit: AuditEvent) -> bool:
        """Let a prepared key sign and the active one stop. False if it is not prepared (any more)."""
        with suppress(_NothingToDo):
            async with self._turn() as transaction:
                await transaction.run(_STOP, {"at": active_at})
                if not await transaction.run(_ACTIVATE, {"key_id": storable(key_id), "at": active_at}):
                    raise _NothingToDo
                await record_in(transaction, audit)
                return True
        return False

    async def retire(self, stopped_before: int, audit: AuditEvent) -> bool:
        """Retire the keys that stopped signing before then. False if there is none."""
        with suppress(_NothingToDo):
            async with self._turn() as transaction:
                retired = await transaction.run(_RETIRE, {"at": stopped_before})
                if not retired:
                    raise _NothingToDo
                for [key_id] in retired:
                    await record_in(transaction, replace(audit, reason=key_id))
                return True
        return False

    async def taint(self, key_id: str, order: TaintOrder) -> Revocation | None:
        """Distrust a key and write the log entry, which is returned. None if there is no such key."""
        entry = Revocation(0, Subject.KEY, key_id, None, order.expires_at)
        with suppress(_NothingToDo):
            async with self._turn(reserved=True) as transaction:
                keys = {key.id: key for key in map(signing_key, await transaction.run(_LIST_ALL))}
                if key_id not in keys:
                    raise _NothingToDo
                if keys[key_id].state is KeyState.TAINTED:
                    entry = Revocation(
                        keys[key_id].taint_revision, Subject.KEY, key_id, None, order.expires_at
                    )
                    raise _NothingToDo
                await record_in(transaction, order.audit)
                [entry] = await append(transaction, [entry])
                values = {"key_id": key_id, "at": order.tainted_at, "revision": entry.revision}
                await transaction.run(_TAINT, {**values, "comment": storable(order.comment)})
                if keys[key_id].state is KeyState.ACTIVE:
                    await _promote(transaction, keys.values(), order.tainted_at)
        return entry if entry.revision else None

    async def reseal(self, key_id: str, sealed: bytes, resealed: bytes, audit: AuditEvent) -> bool:
        """Replace the sealed private half. False if it is no longer `sealed`."""
        with suppress(_NothingToDo):
            async with self._turn() as transaction:
                values = {"key_id": key_id, "sealed": sealed, "resealed": resealed}
                if not await transaction.run(_RESEAL, values):
                    raise _NothingToDo
                await record_in(transaction, audit)
                return True
        return False

    async def _insert(self, key: SigningKey, state: KeyState, audit: AuditEvent) -> bool:
        with suppress(_NothingToDo):
            async with self._turn() as transaction:
                keys = map(signing_key, await transaction.run(_LIST))
                if any(other.state is state for other in keys):
                    raise _NothingToDo
                await transaction.run(_INSERT, signing_key_values(key))
                await record_in(transaction, audit)
                return True
        return False

    @asynccontextmanager
    async def _turn(self, reserved: bool = False) -> AsyncIterator[Transaction]:
        async with self._database.write(reserved=reserved) as transaction:
            await bump_registry(transaction)
            yield transaction


async def _promote(transaction: Transaction, keys: Iterable[SigningKey], active_at: int) -> None:
    """Let the prepared key sign, if there is one: verifiers know it already."""
    for key in keys:
        if key.state is KeyState.PREPARED:
            await transaction.run(_ACTIVATE, {"key_id": key.id, "at": active_at})
