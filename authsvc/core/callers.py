"""Owns who is calling: from `authorization` metadata, or a client's certificate, to a Caller.

Leaves what each may do to authsvc.rpc.policy, and knowing clients to core.client_registry.

A caller is a client (by its key, or by its certificate where there is no `authorization`), a user (by an access or
session token), or nobody. A user is an administrator by the scope `authsvc.admin`, with a token that is for authsvc
itself: its audience is the issuer.
"""

from collections.abc import Collection, Sequence

from authsvc.core.caller import NOBODY, Caller, calling_user
from authsvc.core.client_registry import LOOK_AGAIN_MS, ClientRegistry
from authsvc.core.errors import CallerUnauthenticated, SessionNotActive
from authsvc.core.grants import ADMIN_SCOPE, allowed_audiences, allowed_scopes
from authsvc.core.model import Permission
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.tail import Tail
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs, kind_of
from authsvc.core.validate import SessionValidator

__all__ = ["LOOK_AGAIN_MS", "NOBODY", "Caller", "Callers", "ClientRegistry", "calling_user"]

_KEYS_REMEMBERED = 1_000
_ADMIN = frozenset({Permission.ADMIN})
_NONE: frozenset[Permission] = frozenset()


class Callers:
    """Resolves `authorization` metadata and certificates."""

    def __init__(
        self,
        mint: TokenMint,
        registry: ClientRegistry,
        sessions: SessionValidator,
        access: OwnTokens,
        tail: Tail,
        issuer: str,
    ) -> None:
        self._mint = mint
        self._registry = registry
        self._sessions = sessions
        self._access = access
        self._tail = tail
        self._issuer = issuer
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
        """Return the caller that holds this token. Raises CallerUnauthenticated, StoreUnavailable, ViewTooOld,
        AccessTokenExpired and AccessTokenRevoked (so that a client knows to refresh)."""
        match kind_of(bearer):
            case Kind.CLIENT_KEY:
                return await self._client(bearer)
            case Kind.SESSION:
                return await self._session(bearer)
            case Kind.REFRESH:
                raise CallerUnauthenticated  # It renews; it does not speak for anybody.
        token = self._access.check(bearer)
        if not self._tail.is_fresh():
            # This process stood still, or does not hear from SQL: the token may have been revoked meanwhile.
            await self._tail.ensure_fresh()
            token = self._access.check(bearer)
        # What is for other services too is known to them, and must not administer this one for them.
        administers = token.audiences == (self._issuer,) and self._administers(token.client_id, token.scopes)
        return Caller(_ADMIN if administers else _NONE, token.client_id, token.subject, token.session_id)

    def known_by_certificate(self, names: Sequence[str]) -> Caller | None:
        """Return the client that is registered under a name of its verified certificate, without I/O. None: ask
        `resolve_certificate`."""
        return self._registry.caller_by_certificate(names)

    async def resolve_certificate(self, names: Sequence[str]) -> Caller:
        """Return that client, which may have been registered a moment ago. Raises CallerUnauthenticated,
        StoreUnavailable."""
        await self._registry.look_again()
        caller = self._registry.caller_by_certificate(names)
        if caller is None:
            raise CallerUnauthenticated
        return caller

    def _administers(self, client_id: str, scopes: Collection[str]) -> bool:
        """Whether a user with these scopes is an administrator, as the client is registered now."""
        client = self._registry.get(client_id)
        return ADMIN_SCOPE in allowed_scopes(client, tuple(scopes)) and self._issuer in allowed_audiences(
            client, (self._issuer,)
        )

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
        administers = self._issuer in session.audiences and self._administers(
            session.client_id, session.scopes
        )
        return Caller(_ADMIN if administers else _NONE, session.client_id, session.user_id, session.id)
