"""Owns who is calling: from the `authorization` metadata to a Caller. Leaves what each may do to authsvc.rpc.policy.

A caller is a client (by its key), a user (by an access or session token), or nobody. Clients and their keys are few:
all of them are held in memory and read anew when the log says that they changed, so that knowing a client costs no I/O.
"""

import asyncio
from dataclasses import dataclass, field

from authsvc.core.client_contract import ClientStore
from authsvc.core.clock import SECOND, Clock
from authsvc.core.errors import (
    CallerNotPermitted,
    CallerUnauthenticated,
    CredentialsMissing,
    SessionNotActive,
)
from authsvc.core.model import Client, ClientKey, Permission
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs, kind_of
from authsvc.core.validate import SessionValidator

_KEYS_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. A client has a `client_id` and no `user_id`; a user has both and a `session_id`."""

    permissions: frozenset[Permission] = frozenset()
    client_id: str = ""
    user_id: str = ""
    session_id: str = ""
    sees_usernames: bool = field(init=False)
    """Whether the caller may see whose session any session is: a client with `login`, an admin."""

    def __post_init__(self) -> None:
        # Once per caller, not once per session shown.
        sees = Permission.LOGIN in self.permissions or Permission.ADMIN in self.permissions
        object.__setattr__(self, "sees_usernames", sees)

    def has(self, permission: Permission) -> bool:
        """Whether the caller is a client with this permission."""
        return permission in self.permissions

    @property
    def is_known(self) -> bool:
        """Whether this is anybody at all."""
        return bool(self.client_id)

    @property
    def is_client(self) -> bool:
        """Whether this is a client speaking for itself."""
        return bool(self.client_id) and not self.user_id

    @property
    def actor(self) -> str:
        """The caller's name in the audit log."""
        return self.user_id or self.client_id or "nobody"

    def may_see_username(self, user_id: str) -> bool:
        """Whether the caller may see the name of this user: the user, a client with `login`, an admin."""
        return self.sees_usernames or self.user_id == user_id


NOBODY = Caller()


def calling_user(caller: Caller) -> str:
    """Return the id of the calling user. Raises CredentialsMissing, or CallerNotPermitted if a client calls."""
    if not caller.user_id:
        raise CallerNotPermitted if caller.is_known else CredentialsMissing
    return caller.user_id


LOOK_AGAIN_MS = 250


class ClientRegistry:
    """Every client and every key, in memory."""

    def __init__(self, store: ClientStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._loaded_at = 0
        self._looking: asyncio.Task[None] | None = None
        self._clients: dict[str, Client] = {}
        self._keys: dict[bytes, ClientKey] = {}
        self._callers: dict[str, Caller] = {}

    async def look_again(self) -> None:
        """Read anew, once for all who ask at the same time, and no oftener than each quarter second.

        Whoever sends unknown keys must not cost SQL a read each; yet each is judged by a read begun after it came.
        Raises StoreUnavailable.
        """
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_soon())
            self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._looking)

    async def _look_soon(self) -> None:
        since = self._clock() - self._loaded_at
        if 0 <= since < LOOK_AGAIN_MS:
            await asyncio.sleep((LOOK_AGAIN_MS - since) / SECOND)
        self._looking = None  # who asks from here on wants a read of their own
        await self.load()

    async def load(self) -> None:
        """Read all clients and keys anew. Raises StoreUnavailable, and then the old ones stay."""
        self._loaded_at = self._clock()
        clients, keys = await self._store.list_all()
        self._clients = {client.id: client for client in clients if client.revoked_at is None}
        self._keys = {key.key_hash: key for key in keys if key.client_id in self._clients}
        self._callers = {
            client.id: Caller(client.permissions, client.id) for client in self._clients.values()
        }

    def get(self, client_id: str) -> Client | None:
        """Return the active client."""
        return self._clients.get(client_id)

    def caller_by_key(self, key_hash: bytes) -> Caller | None:
        """Return the client that holds this key now."""
        key = self._keys.get(key_hash)
        if key is None or (key.expires_at is not None and self._clock() >= key.expires_at):
            return None
        return self._callers[key.client_id]


class Callers:
    """Resolves `authorization` metadata."""

    def __init__(
        self, mint: TokenMint, registry: ClientRegistry, sessions: SessionValidator, access: OwnTokens
    ) -> None:
        self._mint = mint
        self._registry = registry
        self._sessions = sessions
        self._access = access
        # Hashes by the text of keys that were good when they came, since the same few come with every call. Whether a
        # key still is good, the registry says each time.
        self._key_hashes: dict[str, bytes] = {}

    def known(self, bearer: str) -> Caller | None:
        """Return the client of a client key, without I/O. None: ask `resolve`."""
        key_hash = self._key_hashes.get(bearer)
        if key_hash is not None:
            return self._registry.caller_by_key(key_hash)
        try:
            key_hash = self._mint.hash_of(Kind.CLIENT_KEY, bearer)
        except TokenNotOurs:
            return None
        caller = self._registry.caller_by_key(key_hash)
        if caller is not None:
            self._remember(bearer, key_hash)
        return caller

    async def resolve(self, bearer: str) -> Caller:
        """Return the caller that holds this token. Raises CallerUnauthenticated, StoreUnavailable,
        AccessTokenExpired and AccessTokenRevoked (so that a client knows to refresh)."""
        match kind_of(bearer):
            case Kind.CLIENT_KEY:
                return await self._client(bearer)
            case Kind.SESSION:
                return await self._session(bearer)
            case Kind.REFRESH:
                raise CallerUnauthenticated  # It renews; it does not speak for anybody.
        token = self._access.check(bearer)
        return Caller(client_id=token.client_id, user_id=token.subject, session_id=token.session_id)

    def _remember(self, bearer: str, key_hash: bytes) -> None:
        if len(self._key_hashes) >= _KEYS_REMEMBERED:
            self._key_hashes.clear()
        self._key_hashes[bearer] = key_hash

    async def _client(self, bearer: str) -> Caller:
        try:
            key_hash = self._mint.hash_of(Kind.CLIENT_KEY, bearer)
        except TokenNotOurs:
            raise CallerUnauthenticated from None
        caller = self._registry.caller_by_key(key_hash)
        if caller is None:
            # Minted by this deployment, yet unknown here: perhaps a moment ago, at another instance.
            await self._registry.look_again()
            caller = self._registry.caller_by_key(key_hash)
        if caller is None:
            raise CallerUnauthenticated
        return caller

    async def _session(self, bearer: str) -> Caller:
        try:
            session = (await self._sessions.validate(bearer)).session
        except SessionNotActive:
            raise CallerUnauthenticated from None
        return Caller(client_id=session.client_id, user_id=session.user_id, session_id=session.id)
