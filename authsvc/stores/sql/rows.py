"""Owns how the things of `core.model` are laid out in rows, both ways. Leaves statements to the stores.

A `…_COLUMNS` tuple and the function after it belong together: the function reads rows of exactly these columns, as
the drivers give them. Only ids differ: asyncpg has a type of its own for them.
"""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column

from authsvc.core.contracts import NewTokens
from authsvc.core.model import (
    AuditEvent,
    Client,
    ClientKey,
    Device,
    KeyState,
    LogPosition,
    Permission,
    RefreshState,
    Revocation,
    RevokeReason,
    Session,
    SigningKey,
    Subject,
    User,
)
from authsvc.stores.sql import schema

Columns = tuple[Column[Any], ...]

_CANONICAL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REASONS: dict[str | None, RevokeReason | None] = {
    None: None,
    **{reason.value: reason for reason in RevokeReason},
}


def is_id(text: str) -> bool:
    """Say whether this can be the id of a row at all: a UUID in lower case, with dashes."""
    return _CANONICAL_ID.fullmatch(text) is not None


def storable(text: str) -> str:
    """Return free text as both databases can hold it: PostgreSQL refuses NUL, and half of a character pair."""
    if text.isascii() and "\0" not in text:  # nearly always, and ten times a statement
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def join(words: tuple[str, ...]) -> str:
    """Write a list of words that hold no spaces as one text; `split` reads it."""
    return " ".join(words)


def split(text: str) -> tuple[str, ...]:
    """Read what `join` wrote."""
    return tuple(text.split())


USER_COLUMNS: Columns = tuple(
    schema.users.c["id", "username", "scopes", "created_at", "disabled_at", "password_changed_at"]
)


def user(row: Sequence[Any]) -> User:
    """Read a row that begins with USER_COLUMNS."""
    return User(str(row[0]), row[1], split(row[2]), row[3], row[4], row[5])


def user_values(user: User, username_key: str, password_hash: str) -> dict[str, Any]:
    """Write a user with what the model leaves out."""
    return {
        "id": user.id,
        "username": user.username,
        "username_key": username_key,
        "password_hash": password_hash,
        "scopes": join(user.scopes),
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
        "password_changed_at": user.password_changed_at,
    }


CLIENT_COLUMNS: Columns = tuple(schema.clients.c)


def client(row: Sequence[Any]) -> Client:
    """Read a row that begins with CLIENT_COLUMNS."""
    permissions = frozenset(Permission(word) for word in split(row[2]))
    return Client(
        row[0], row[1], permissions, split(row[3]), split(row[4]), row[5], row[6], split(row[7]), row[8]
    )


def client_values(client: Client) -> dict[str, Any]:
    """Write a client."""
    return {
        "id": client.id,
        "display_name": storable(client.display_name),
        "permissions": join(tuple(sorted(permission.value for permission in client.permissions))),
        "audiences": join(client.audiences),
        "scopes": join(client.scopes),
        "created_at": client.created_at,
        "revoked_at": client.revoked_at,
        "certificate_names": join(client.certificate_names),
        "updated_at": client.updated_at,
    }


CLIENT_KEY_COLUMNS: Columns = tuple(schema.client_keys.c)


def client_key(row: Sequence[Any]) -> ClientKey:
    """Read CLIENT_KEY_COLUMNS."""
    return ClientKey(*row)


def client_key_values(key: ClientKey) -> dict[str, Any]:
    """Write a client's key."""
    return {
        "key_hash": key.key_hash,
        "client_id": key.client_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }


SESSION_COLUMNS: Columns = tuple(
    schema.sessions.c[
        "id", "user_id", "username", "client_id", "scopes", "audiences", "amr", "created_at", "seen_at",
        "session_expires_at", "session_idle_ms", "refresh_expires_at", "refresh_idle_ms", "refresh_idle_expires_at",
        "ip_address", "user_agent", "device_label", "rotated_at", "revoked_at", "revoke_reason", "stepped_up_at",
    ]
)  # fmt: skip


def session(row: Sequence[Any]) -> Session:
    """Read a row that begins with SESSION_COLUMNS."""
    return Session(
        str(row[0]), str(row[1]), row[2], row[3], split(row[4]), split(row[5]), split(row[6]), row[7], row[8],
        row[9], row[10], row[11], row[12], row[13],
        Device(row[14], row[15], row[16]), row[17], row[18], _REASONS[row[19]], row[20],
    )  # fmt: skip


def session_values(session: Session, tokens: NewTokens) -> dict[str, Any]:
    """Write a session of generation 0 that nothing has happened to yet."""
    deadlines = (session.session_expires_at, session.refresh_expires_at)
    return {
        "id": session.id,
        "user_id": session.user_id,
        "username": session.username,
        "client_id": session.client_id,
        "scopes": join(session.scopes),
        "audiences": join(session.audiences),
        "amr": join(session.amr),
        "created_at": session.created_at,
        "seen_at": session.seen_at,
        "expires_at": max((at for at in deadlines if at is not None), default=session.created_at),
        "session_token_hash": tokens.session_hash,
        "session_expires_at": session.session_expires_at,
        "session_idle_ms": session.session_idle_ms,
        "refresh_generation": 0,
        "refresh_hash": tokens.refresh_hash,
        "previous_refresh_hash": None,
        "sealed_successor": None,
        "rotated_at": None,
        "refresh_expires_at": session.refresh_expires_at,
        "refresh_idle_ms": session.refresh_idle_ms,
        "refresh_idle_expires_at": session.refresh_idle_expires_at,
        "replay_count": 0,
        "revoked_at": None,
        "revoke_reason": None,
        "rotated_ip_address": "",
        "rotated_user_agent": "",
        "stepped_up_at": session.stepped_up_at,
        "over_at": max(session.session_idle_expires_at or 0, session.refresh_idle_expires_at or 0),
        **_device_values(session.device),
    }


REFRESH_COLUMNS: Columns = tuple(
    schema.sessions.c[
        "refresh_generation", "refresh_hash", "previous_refresh_hash", "rotated_at", "sealed_successor", "replay_count",
        "rotated_ip_address", "rotated_user_agent",
    ]
)  # fmt: skip


def refresh_state(row: Sequence[Any]) -> RefreshState:
    """Read REFRESH_COLUMNS."""
    generation, refresh_hash, previous_hash, rotated_at, sealed, replay_count, *device = row
    return RefreshState(
        generation, refresh_hash, previous_hash, rotated_at, sealed, replay_count, Device(*device)
    )


REVOCATION_COLUMNS: Columns = tuple(schema.revocations.c)


def revocation(row: Sequence[Any]) -> Revocation:
    """Read REVOCATION_COLUMNS."""
    return Revocation(row[0], Subject(row[1]), row[2], row[3], row[4])


def revocation_values(entry: Revocation) -> dict[str, Any]:
    """Write an entry of the log."""
    return {
        "revision": entry.revision,
        "subject": entry.subject.value,
        "subject_id": entry.subject_id,
        "issued_before_at": entry.issued_before_at,
        "expires_at": entry.expires_at,
    }


POSITION_COLUMNS: Columns = tuple(schema.log_state.c["revision", "epoch", "registry"])


def position(row: Sequence[Any]) -> LogPosition:
    """Read POSITION_COLUMNS."""
    return LogPosition(*row)


SIGNING_KEY_COLUMNS: Columns = tuple(
    schema.signing_keys.c[
        "id", "algorithm", "state", "public_jwk", "created_at", "sealed_private", "active_at", "retiring_at",
        "tainted_at", "taint_revision", "taint_comment",
    ]
)  # fmt: skip


def signing_key(row: Sequence[Any]) -> SigningKey:
    """Read SIGNING_KEY_COLUMNS."""
    key_id, algorithm, state, *rest = row
    return SigningKey(key_id, algorithm, KeyState(state), *rest)


def signing_key_values(key: SigningKey) -> dict[str, Any]:
    """Write a signing key."""
    return {
        "id": key.id,
        "algorithm": key.algorithm,
        "state": key.state.value,
        "public_jwk": key.public_jwk,
        "created_at": key.created_at,
        "sealed_private": key.sealed_private,
        "active_at": key.active_at,
        "retiring_at": key.retiring_at,
        "tainted_at": key.tainted_at,
        "taint_revision": key.taint_revision,
        "taint_comment": storable(key.taint_comment),
    }


EVENT_COLUMNS: Columns = tuple(
    schema.audit_events.c[
        "event", "happened_at", "actor", "user_id", "session_id", "client_id", "ip_address", "user_agent",
        "device_label", "reason", "id", "other_ip_address", "other_user_agent", "other_at",
    ]
)  # fmt: skip


def audit_event(row: Sequence[Any]) -> AuditEvent:
    """Read EVENT_COLUMNS."""
    event, happened_at, actor, user_id, session_id, client_id, *rest = row
    device, (reason, number, *other, other_at) = Device(*rest[:3]), rest[3:]
    return AuditEvent(
        event,
        happened_at,
        actor,
        user_id,
        session_id,
        client_id,
        device,
        reason,
        number,
        Device(*other),
        other_at,
    )


def event_values(event: AuditEvent) -> dict[str, Any]:
    """Write an audit event."""
    return {
        "event": event.event,
        "happened_at": event.happened_at,
        "actor": storable(event.actor),
        "user_id": storable(event.user_id),
        "session_id": storable(event.session_id),
        "client_id": storable(event.client_id),
        "reason": storable(event.reason),
        "other_ip_address": storable(event.other_device.ip_address),
        "other_user_agent": storable(event.other_device.user_agent),
        "other_at": event.other_at,
        **_device_values(event.device),
    }


def _device_values(device: Device) -> dict[str, Any]:
    return {
        "ip_address": storable(device.ip_address),
        "user_agent": storable(device.user_agent),
        "device_label": storable(device.label),
    }
