"""Owns users. Leaves what passwords and names may look like to `core`.

A change that must end sessions locks the user's row first, so that no login slips in between (see `sessions`).
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import bindparam, select, update

from authsvc.core.contracts import Revoked, RevokeOrder
from authsvc.core.model import AuditEvent, User, UserSecret
from authsvc.stores.sql import ending
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.database import Database, Transaction
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.rows import USER_COLUMNS, is_id, join, storable, user, user_values
from authsvc.stores.sql.schema import ID, users
from authsvc.stores.sql.second_factors import forgive

_row = users.c
_WIDTH = len(USER_COLUMNS)

_INSERT = insert_whole(users)
_BY_ID = select(*USER_COLUMNS).where(_row.id == bindparam("id"))
_LOCK = _BY_ID.with_for_update(key_share=True)
_BY_KEY = select(*USER_COLUMNS, _row.password_hash).where(_row.username_key == bindparam("key"))
_LIST = (
    select(*USER_COLUMNS, _row.username_key)
    .where(_row.username_key > bindparam("after"))
    .order_by(_row.username_key)
    .limit(bindparam("limit"))
)
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
_HASHES = (
    select(_row.id, _row.password_hash)
    .where(_row.id > bindparam("after_id", type_=ID))
    .order_by(_row.id)
    .limit(bindparam("limit"))
)
_SET = update(users).where(_row.id == bindparam("user_id"))
_SET_PASSWORD = _SET.values(password_hash=bindparam("new_hash"), password_changed_at=bindparam("changed_at"))
_SET_SCOPES = _SET.values(scopes=bindparam("new_scopes"), password_changed_at=bindparam("changed_at"))
_SET_DISABLED = _SET.values(disabled_at=bindparam("disabled_at"))
_REHASH = _SET.where(_row.password_hash == bindparam("old_hash")).values(password_hash=bindparam("new_hash"))


class UserStore:
    """core.contracts.UserStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, user: User, username_key: str, password_hash: str, audit: AuditEvent) -> bool:
        """Insert the user. False if the key is taken."""
        try:
            async with self._database.write() as transaction:
                await transaction.run(_INSERT, user_values(user, username_key, password_hash))
                await record_in(transaction, audit)
        except RuleBroken:
            if await self.get_by_username(username_key) is None:
                raise
            return False
        return True

    async def get(self, user_id: str) -> User | None:
        """Return the user."""
        if not is_id(user_id):
            return None
        rows = await self._database.read(_BY_ID, {"id": user_id})
        return user(rows[0]) if rows else None

    async def get_secret(self, username_key: str) -> UserSecret | None:
        """Return the user with the password hash, disabled or not."""
        rows = await self._database.read(_BY_KEY, {"key": storable(username_key)})
        return UserSecret(user(rows[0]), rows[0][_WIDTH]) if rows else None

    async def get_by_username(self, username_key: str) -> User | None:
        """Return the user."""
        secret = await self.get_secret(username_key)
        return secret.user if secret else None

    async def list(self, limit: int, after_key: str) -> Sequence[tuple[str, User]]:
        """Return (username_key, user) by key, starting above `after_key`."""
        rows = await self._database.read(_LIST, {"after": storable(after_key), "limit": limit})
        return [(row[_WIDTH], user(row)) for row in rows]

    async def list_hashes(self, limit: int, after_id: str) -> Sequence[tuple[str, str]]:
        """Return (user id, stored hash) by id, starting above `after_id`."""
        rows = await self._database.read(_HASHES, {"after_id": after_id or _BEFORE_ALL, "limit": limit})
        return [(str(row[0]), row[1]) for row in rows]

    async def rehash(self, user_id: str, old_hash: str, new_hash: str) -> None:
        """Replace the hash of the same password, unless another has been set meanwhile."""
        if is_id(user_id):
            values = {"user_id": user_id, "old_hash": old_hash, "new_hash": new_hash}
            await self._database.change(_REHASH, values)

    async def set_password(
        self,
        user_id: str,
        password_hash: str,
        order: RevokeOrder,
        keep_session_id: str | None = None,
        replaces: int | None = None,
    ) -> Revoked | None:
        """Set the hash and revoke all sessions but one, in one transaction. None: no such user, or not as it was."""
        async with self._database.write(reserved=True) as transaction:
            before = await _lock(transaction, user_id)
            if before is None or not (replaces is None or _is_still(before, replaces)):
                return None
            changed_at = max(order.revoked_at, before.password_changed_at + 1)
            values = {"user_id": user_id, "new_hash": password_hash, "changed_at": changed_at}
            await transaction.run(_SET_PASSWORD, values)
            if replaces is None:
                await forgive(transaction, user_id)
            ended = await ending.end_all(transaction, user_id, order, keep_session_id)
            await record_in(transaction, order.audit)
            return await ending.log(transaction, ended, order)

    async def set_scopes(
        self, user_id: str, scopes: Sequence[str], order: RevokeOrder
    ) -> tuple[User, Revoked] | None:
        """Replace the scopes, and revoke all sessions if that takes one away. None if there is no such user."""
        async with self._database.write(reserved=True) as transaction:
            before = await _lock(transaction, user_id)
            if before is None:
                return None
            narrows = not set(before.scopes) <= set(scopes)
            # A login under way read the old scopes, and begins no session once this has moved: `sessions.create`.
            changed_at = before.password_changed_at + narrows
            after = replace(before, scopes=tuple(scopes), password_changed_at=changed_at)
            values = {"user_id": user_id, "new_scopes": join(after.scopes), "changed_at": changed_at}
            await transaction.run(_SET_SCOPES, values)
            ended = await ending.end_all(transaction, user_id, order) if narrows else []
            await record_in(transaction, order.audit)
            return after, await ending.log(transaction, ended, order)

    async def disable(self, user_id: str, order: RevokeOrder) -> tuple[User, Revoked] | None:
        """Disable and revoke all sessions in one transaction. None if there is no such user."""
        async with self._database.write(reserved=True) as transaction:
            before = await _lock(transaction, user_id)
            if before is None:
                return None
            if before.disabled_at is not None:
                return before, Revoked(0, (), ())
            await transaction.run(_SET_DISABLED, {"user_id": user_id, "disabled_at": order.revoked_at})
            ended = await ending.end_all(transaction, user_id, order)
            await record_in(transaction, order.audit)
            return replace(before, disabled_at=order.revoked_at), await ending.log(transaction, ended, order)

    async def enable(self, user_id: str, audit: AuditEvent) -> User | None:
        """Enable. None if there is no such user."""
        async with self._database.write() as transaction:
            before = await _lock(transaction, user_id)
            if before is None or before.disabled_at is None:
                return before
            await transaction.run(_SET_DISABLED, {"user_id": user_id, "disabled_at": None})
            await record_in(transaction, audit)
            return replace(before, disabled_at=None)


def _is_still(found: User, password_changed_at: int) -> bool:
    return found.disabled_at is None and found.password_changed_at == password_changed_at


async def _lock(transaction: Transaction, user_id: str) -> User | None:
    """Return the user as of now, and keep everyone else from changing it until the transaction ends."""
    if not is_id(user_id):
        return None
    rows = await transaction.run(_LOCK, {"id": user_id})
    return user(rows[0]) if rows else None
