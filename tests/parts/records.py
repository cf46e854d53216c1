"""Things to put into stores: valid, distinct, and at one moment, NOW."""

import hashlib
import itertools
import uuid
from dataclasses import replace
from typing import Any

from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.contracts import NewTokens, RevokeOrder, Rotation
from authsvc.core.model import (
    AuditEvent,
    Client,
    ClientKey,
    Device,
    KeyState,
    Permission,
    RevokeReason,
    Session,
    SigningKey,
    User,
)
from authsvc.stores.sql import SqlStores

NOW = 1_790_000_000_000
TOKEN_TTL = 5 * MINUTE
IDLE = 30 * MINUTE
ABSOLUTE = 12 * HOUR
REFRESH_IDLE = 30 * DAY
REFRESH_ABSOLUTE = 90 * DAY
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

_numbers = itertools.count(1)


def hash_of(name: object) -> bytes:
    """A token hash that is always the same for a name."""
    return hashlib.sha256(str(name).encode()).digest()


def new_id() -> str:
    """An id never seen before."""
    return str(uuid.uuid4())


def an_event(event: str = "something.happened", **changes: Any) -> AuditEvent:
    """An audit event at NOW."""
    return AuditEvent(event, **{"happened_at": NOW, "actor": "somebody", **changes})


def a_user(**changes: Any) -> User:
    """A user who may log in."""
    return replace(User(new_id(), f"Zoë {next(_numbers)}", ("read", "write"), NOW, None, NOW), **changes)


def a_client(**changes: Any) -> Client:
    """A client that may do everything."""
    name = f"client-{next(_numbers):06}"
    return replace(
        Client(name, "A client", frozenset(Permission), ("shop", "mail"), ("read",), NOW), **changes
    )


def a_client_key(client_id: str, **changes: Any) -> ClientKey:
    """A key of a client."""
    return replace(ClientKey(hash_of(f"client key {next(_numbers)}"), client_id, NOW), **changes)


def a_session(user: User, **changes: Any) -> Session:
    """A session of a user with both tokens, just begun."""
    session = Session(
        id=new_id(),
        user_id=user.id,
        username=user.username,
        client_id="web",
        scopes=("read",),
        audiences=("shop", "mail"),
        amr=("pwd",),
        created_at=NOW,
        seen_at=NOW,
        session_expires_at=NOW + ABSOLUTE,
        session_idle_ms=IDLE,
        refresh_expires_at=NOW + REFRESH_ABSOLUTE,
        refresh_idle_ms=REFRESH_IDLE,
        refresh_idle_expires_at=NOW + REFRESH_IDLE,
        device=Device("192.0.2.1", "a browser", "the kitchen"),
    )
    return replace(session, **changes)


def tokens_of(session: Session) -> NewTokens:
    """The hashes of the tokens that a session began with."""
    return NewTokens(
        hash_of(f"session token of {session.id}") if session.session_expires_at is not None else None,
        refresh_hash_of(session, 0) if session.refresh_expires_at is not None else None,
    )


def refresh_hash_of(session: Session, generation: int) -> bytes:
    """The hash of the refresh token of a generation, as long as nobody rotates to another."""
    return hash_of(f"refresh token {generation} of {session.id}")


def a_rotation(session: Session, generation: int = 0, **changes: Any) -> Rotation:
    """The rotation from a generation to the next, at NOW."""
    rotation = Rotation(
        session_id=session.id,
        client_id=session.client_id,
        generation=generation,
        presented_hash=refresh_hash_of(session, generation),
        successor_hash=refresh_hash_of(session, generation + 1),
        sealed_successor=f"sealed {generation + 1}".encode(),
        now=NOW,
        device=Device("192.0.2.2", "a phone"),
    )
    return replace(rotation, **changes)


def an_order(reason: RevokeReason = RevokeReason.USER, **changes: Any) -> RevokeOrder:
    """An order to revoke at NOW."""
    return replace(RevokeOrder(NOW, reason, TOKEN_TTL, an_event("session.revoked")), **changes)


def a_signing_key(**changes: Any) -> SigningKey:
    """An active signing key."""
    key = SigningKey(f"key-{next(_numbers)}", "ES256", KeyState.ACTIVE, '{"kty": "EC"}', NOW, b"sealed")
    return replace(key, **changes)


async def add_user(stores: SqlStores, **changes: Any) -> User:
    """Put a user into the store, with the name as its key."""
    user = a_user(**changes)
    assert await stores.users.create(user, user.username.lower(), "$argon2id$first", an_event())
    return user


async def add_session(stores: SqlStores, user: User | None = None, **changes: Any) -> Session:
    """Put a session into the store, of a new user unless one is given."""
    user = user or await add_user(stores)
    session = a_session(user, **changes)
    created = await stores.sessions.create(session, tokens_of(session), user.password_changed_at, an_event())
    assert created
    return session
