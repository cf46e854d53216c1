"""Owns second factors and recovery codes. Leaves what a code is, and whether it is right, to `core`.

What can race is decided by one statement on the row: a guess is counted, a time step is used up, a recovery code is
deleted. Of any number at once the database lets one go first; the others see the row as it has become.
"""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from authsvc.core.model import AuditEvent
from authsvc.core.second_factor_contract import GUESSES_MAX, WAITS, Charged, SealedFactor, SecondFactor
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import Values
from authsvc.stores.sql.database import Database, Row, Transaction
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.rows import Columns, is_id
from authsvc.stores.sql.schema import HASH, ID, recovery_codes, second_factors

_row = second_factors.c
_code = recovery_codes.c
_COLUMNS: Columns = tuple(
    _row["user_id", "sealed_secret", "confirmed_at", "last_step", "pending_secret", "pending_at"]
)

_user_id = bindparam("owner_id", type_=ID)
_now = bindparam("now", type_=BigInteger)
_pending = bindparam("pending", type_=LargeBinary)
_sealed = bindparam("sealed", type_=LargeBinary)
_at = bindparam("at", type_=BigInteger)
_step = bindparam("step", type_=BigInteger)
_NOT_COUNTED = {"failures": 0, "blocked_until": 0}

_GET = select(*_COLUMNS).where(_row.user_id == _user_id)
_GET_BLOCKED = select(_row.failures, _row.blocked_until).where(
    _row.user_id == _user_id, _row.sealed_secret.is_not(None)
)
_COUNT_CODES = select(func.count()).select_from(recovery_codes).where(_code.user_id == _user_id)

_of_user = update(second_factors).where(_row.user_id == _user_id)
_ENROL_AGAIN = _of_user.values(pending_secret=_pending, pending_at=_at).returning(_row.user_id)
_ENROL = insert(second_factors).values(
    user_id=_user_id, pending_secret=_pending, pending_at=_at, last_step=0, **_NOT_COUNTED
)

_failures = _row.failures + 1
_blocked_until = case(
    *((_failures >= failures, _now + wait_ms) for failures, wait_ms in reversed(WAITS)),
    else_=literal(0, BigInteger),
)
_CHARGE = (
    _of_user.where(_row.sealed_secret.is_not(None), _row.failures < GUESSES_MAX, _row.blocked_until <= _now)
    .values(failures=_failures, blocked_until=_blocked_until)
    .returning(*_COLUMNS)
)
_FORGIVE = _of_user.values(_NOT_COUNTED)
_ACCEPT_STEP = (
    _of_user.where(_row.sealed_secret == _sealed, _row.last_step < _step)
    .values(last_step=_step, **_NOT_COUNTED)
    .returning(_row.user_id)
)
_CONFIRM = (
    _of_user.where(_row.pending_secret == _pending)
    .values(
        sealed_secret=_row.pending_secret,
        confirmed_at=_at,
        last_step=_step,
        pending_secret=null(),
        pending_at=null(),
        **_NOT_COUNTED,
    )
    .returning(_row.user_id)
)

_ADD_CODE = insert(recovery_codes).values(user_id=_user_id, code_hash=bindparam("code_hash", type_=HASH))
_DELETE_CODES = delete(recovery_codes).where(_code.user_id == _user_id)
_USE_CODE = _DELETE_CODES.where(_code.code_hash == bindparam("code_hash", type_=HASH)).returning(
    _code.user_id
)
_LOCK = select(_row.user_id).where(_row.user_id == _user_id, _row.sealed_secret == _sealed).with_for_update()
_DELETE = delete(second_factors).where(_row.user_id == _user_id).returning(_row.user_id)

_LIST_SEALED = (
    select(_row.user_id, _row.sealed_secret, _row.pending_secret)
    .where(_row.user_id > bindparam("after", type_=ID))
    .order_by(_row.user_id)
    .limit(bindparam("limit"))
)
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
_resealed = bindparam("resealed", type_=LargeBinary)
_RESEAL = tuple(
    _of_user.where(_row[name] == _sealed).values({name: _resealed}).returning(_row.user_id)
    for name in ("sealed_secret", "pending_secret")
)


class _NothingToDo(Exception):
    """Rolls a transaction back that would change nothing."""


class SecondFactorStore:
    """core.second_factor_contract.SecondFactorStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: str) -> SecondFactor | None:
        """Return the user's second factor, confirmed or pending."""
        if not is_id(user_id):
            return None
        rows = await self._database.read(_GET, {"owner_id": user_id})
        return _factor(rows[0]) if rows else None

    async def count_recovery_codes(self, user_id: str) -> int:
        """Return how many recovery codes are left."""
        if not is_id(user_id):
            return 0
        return int((await self._database.read(_COUNT_CODES, {"owner_id": user_id}))[0][0])

    async def enrol(self, user_id: str, pending_secret: bytes, pending_at: int, audit: AuditEvent) -> None:
        """Set the pending secret, in the place of one before."""
        values = {"owner_id": user_id, "pending": pending_secret, "at": pending_at}
        try:
            await self._enrol(values, audit)
        except RuleBroken:  # Somebody else's was the first row; now there is one.
            await self._enrol(values, audit)

    async def confirm(
        self,
        user_id: str,
        pending_secret: bytes,
        step: int,
        code_hashes: Sequence[bytes],
        now: int,
        audit: AuditEvent,
    ) -> bool:
        """Put the pending secret into force, with new recovery codes. False if it is another by now."""
        async with self._database.write() as transaction:
            values = {"owner_id": user_id, "pending": pending_secret, "step": step, "at": now}
            if not await transaction.run(_CONFIRM, values):
                return False
            await _replace_codes(transaction, user_id, code_hashes)
            await record_in(transaction, audit)
        return True

    async def charge(self, user_id: str, now: int) -> Charged:
        """Count one guess before it is judged, or say how long to wait."""
        if not is_id(user_id):
            return Charged(None)
        rows = await self._database.change(_CHARGE, {"owner_id": user_id, "now": now})
        if rows:
            return Charged(_factor(rows[0]))
        blocked = await self._database.read(_GET_BLOCKED, {"owner_id": user_id})
        if not blocked:
            return Charged(None)
        failures, blocked_until = blocked[0]
        return Charged(None, WAITS[-1][1] if failures >= GUESSES_MAX else max(1, blocked_until - now))

    async def accept_step(self, user_id: str, sealed_secret: bytes, step: int) -> bool:
        """Use a time step up. False if it, or a later one, was used before."""
        values = {"owner_id": user_id, "sealed": sealed_secret, "step": step}
        return bool(await self._database.change(_ACCEPT_STEP, values))

    async def use_recovery_code(self, user_id: str, code_hash: bytes, audit: AuditEvent) -> bool:
        """Use a recovery code up. False if there is no such code (any more)."""
        if not is_id(user_id):
            return False
        with suppress(_NothingToDo):
            async with self._database.write() as transaction:
                # The factor's row first, as everywhere, so that nobody waits in a circle.
                await transaction.run(_FORGIVE, {"owner_id": user_id})
                if not await transaction.run(_USE_CODE, {"owner_id": user_id, "code_hash": code_hash}):
                    raise _NothingToDo
                await record_in(transaction, audit)
                return True
        return False

    async def replace_recovery_codes(
        self, user_id: str, sealed_secret: bytes, code_hashes: Sequence[bytes], audit: AuditEvent
    ) -> bool:
        """Forget the recovery codes and store others. False if the secret in force is another by now."""
        async with self._database.write() as transaction:
            if not await transaction.run(_LOCK, {"owner_id": user_id, "sealed": sealed_secret}):
                return False
            await _replace_codes(transaction, user_id, code_hashes)
            await record_in(transaction, audit)
        return True

    async def delete(self, user_id: str, audit: AuditEvent) -> bool:
        """Forget second factor and recovery codes. False if there is none."""
        if not is_id(user_id):
            return False
        async with self._database.write() as transaction:
            if not await transaction.run(_DELETE, {"owner_id": user_id}):
                return False
            await transaction.run(_DELETE_CODES, {"owner_id": user_id})
            await record_in(transaction, audit)
        return True

    async def list_sealed(self, limit: int, after_user_id: str) -> Sequence[SealedFactor]:
        """Return sealed secrets by user id, starting above `after_user_id`."""
        values = {"after": after_user_id or _BEFORE_ALL, "limit": limit}
        rows = await self._database.read(_LIST_SEALED, values)
        return [SealedFactor(str(row[0]), row[1], row[2]) for row in rows]

    async def reseal(self, user_id: str, sealed: bytes, resealed: bytes) -> bool:
        """Replace a sealed secret. False if it is another by now."""
        values = {"owner_id": user_id, "sealed": sealed, "resealed": resealed}
        return any([await self._database.change(statement, values) for statement in _RESEAL])

    async def _enrol(self, values: Values, audit: AuditEvent) -> None:
        async with self._database.write() as transaction:
            if not await transaction.run(_ENROL_AGAIN, values):
                await transaction.run(_ENROL, values)
            await record_in(transaction, audit)


async def forgive(transaction: Transaction, user_id: str) -> None:
    """Count guesses anew, within the transaction under way: whoever knew the old password is out."""
    await transaction.run(_FORGIVE, {"owner_id": user_id})


async def _replace_codes(transaction: Transaction, user_id: str, code_hashes: Sequence[bytes]) -> None:
    await transaction.run(_DELETE_CODES, {"owner_id": user_id})
    await transaction.run_many(
        _ADD_CODE, [{"owner_id": user_id, "code_hash": code_hash} for code_hash in code_hashes]
    )


def _factor(row: Row) -> SecondFactor:
    return SecondFactor(str(row[0]), *row[1:])
