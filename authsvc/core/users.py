"""Owns administering users. Leaves password rules and hashing to their rooms, the transactions to the user store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from authsvc.core.announce import Announcer
from authsvc.core.clock import Clock
from authsvc.core.contracts import Revoked, RevokeOrder, StoreUnavailable, UserStore
from authsvc.core.errors import InvalidRequest, NotFound, UsernameTaken
from authsvc.core.ids import RandomBytes, new_id
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, RevokeReason, User
from authsvc.core.operation import Asked
from authsvc.core.paging import page_size, page_token, read_page_token
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import PasswordHashing
from authsvc.core.scopes import checked_names
from authsvc.core.usernames import checked_username, username_key

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to add, with a password, or the hash of one that comes from elsewhere."""

    username: str
    password: str = field(repr=False)
    scopes: Sequence[str]
    password_hash: str = field(default="", repr=False)


class Users:
    """Adds, changes and lists users."""

    def __init__(
        self,
        *,
        store: UserStore,
        announcer: Announcer,
        passwords: PasswordHashing,
        rules: PasswordRules,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._passwords = passwords
        self._rules = rules
        self._clock = clock
        self._random_bytes = random_bytes

    async def create(self, new: NewUser, asked: Asked) -> User:
        """Add a user. Raises InvalidRequest, PasswordTooWeak, UsernameTaken, Overloaded, StoreUnavailable."""
        username = checked_username(new.username)
        scopes = checked_names(new.scopes, "scopes")
        now = self._clock()
        user = User(new_id(now, self._random_bytes), username, scopes, now, None, now)
        password_hash = await self._to_store(user, new.password, new.password_hash, asked)
        event = self._event("user.created", user.id, asked)
        try:
            if not await self._store.create(user, username_key(username), password_hash, event):
                raise UsernameTaken
        except StoreUnavailable:
            if await self._store.get(user.id) is None:  # else that was done, and only its reply is lost
                raise
        return user

    async def get(self, user_id: str = "", username: str = "") -> User:
        """Return the user by id or by name. Raises InvalidRequest, NotFound, StoreUnavailable."""
        if not user_id and not username:
            raise InvalidRequest(("user", "must name a user by id or by username"))
        by_id = self._store.get(user_id) if user_id else self._store.get_by_username(username_key(username))
        return _found(await by_id)

    async def list(self, size: int, token: str) -> tuple[Sequence[User], str]:
        """Return a page of users by name, and the token of the next. Raises InvalidRequest, StoreUnavailable."""
        limit = page_size(size)
        after = read_page_token(token, parts=1)[0] if token else ""
        found = await self._store.list(limit + 1, after)
        more = len(found) > limit
        return [user for _, user in found[:limit]], page_token(found[limit - 1][0]) if more else ""

    async def set_password(
        self, user_id: str, password: str, asked: Asked, password_hash: str = ""
    ) -> Revoked:
        """Replace the password, or take over the hash of one, and end every session.

        Raises InvalidRequest, PasswordTooWeak, NotFound, Overloaded, StoreUnavailable.
        """
        user = _found(await self._store.get(user_id))
        password_hash = await self._to_store(user, password, password_hash, asked)
        order = self._order("user.password_changed", RevokeReason.PASSWORD_CHANGED, user_id, asked)
        revoked = _found(await self._store.set_password(user_id, password_hash, order))
        await self._announcer.announce(revoked)
        return revoked

    async def set_scopes(self, user_id: str, scopes: Sequence[str], asked: Asked) -> tuple[User, Revoked]:
        """Replace the scopes; if that takes one away, end every session. Raises InvalidRequest, NotFound,
        StoreUnavailable."""
        checked = checked_names(scopes, "scopes")
        order = self._order("user.scopes_changed", RevokeReason.ADMIN, user_id, asked)
        user, revoked = _found(await self._store.set_scopes(user_id, checked, order))
        await self._announcer.announce(revoked)
        return user, revoked

    async def disable(self, user_id: str, asked: Asked) -> tuple[User, Revoked]:
        """Stop logins and end every session. Raises NotFound, StoreUnavailable."""
        order = self._order("user.disabled", RevokeReason.ACCOUNT_DISABLED, user_id, asked)
        user, revoked = _found(await self._store.disable(user_id, order))
        await self._announcer.announce(revoked)
        return user, revoked

    async def enable(self, user_id: str, asked: Asked) -> User:
        """Allow logins again. Raises NotFound, StoreUnavailable."""
        return _found(await self._store.enable(user_id, self._event("user.enabled", user_id, asked)))

    async def _to_store(self, user: User, password: str, password_hash: str, asked: Asked) -> str:
        """Return the hash to store. Nothing can be said of a password of which only the hash is known."""
        if password_hash:
            if password:
                raise InvalidRequest(("password_hash", "must not come with a password"))
            return self._passwords.take_over(password_hash, user.id)
        self._rules.check(password, user.username)
        return await self._passwords.hash(password, user.id, asked.wait_ms)

    def _order(self, event: str, reason: RevokeReason, user_id: str, asked: Asked) -> RevokeOrder:
        audit = self._event(event, user_id, asked)
        return RevokeOrder(audit.happened_at, reason, REVOCATION_GRACE, audit)

    def _event(self, event: str, user_id: str, asked: Asked) -> AuditEvent:
        caller = asked.caller
        return AuditEvent(
            event,
            self._clock(),
            actor=caller.actor,
            user_id=user_id,
            client_id=caller.client_id,
            device=asked.device,
        )


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise NotFound
    return thing
