"""Owns how a session is written into the cache and read back. Leaves keys, times and the cache itself to the stores.

The body is a JSON list in the order of the fields below: short, and quick to read on the path of every validation.
Only what never changes while a session lives is in it; the idle deadline is the cache's own.
"""

import json

from authsvc.core.contracts import CacheAnswer, CachedSession
from authsvc.core.model import Device, Session

_read = json.JSONDecoder().raw_decode  # json.loads takes twice as long to get to it


def to_cache(session: Session, seen_at: int, flushed_at: int) -> CachedSession:
    """Return the session as the cache keeps it, last seen at `seen_at`, of which SQL knows `flushed_at`.

    The session must have a session token.
    """
    expires_at = session.session_expires_at or 0
    device = session.device
    body = [
        session.id,
        session.user_id,
        session.username,
        session.client_id,
        session.scopes,
        session.audiences,
        session.amr,
        session.created_at,
        session.session_expires_at,
        session.session_idle_ms,
        session.refresh_expires_at,
        (device.ip_address, device.user_agent, device.label),
    ]
    return CachedSession(
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
        idle_expires_at=min(seen_at + session.session_idle_ms, expires_at),
        idle_ms=session.session_idle_ms,
        expires_at=expires_at,
        flushed_at=flushed_at,
    )


def from_cache(answer: CacheAnswer) -> Session:
    """Return the session; its `seen_at` follows from the idle deadline the cache knows."""
    (
        session_id,
        user_id,
        username,
        client_id,
        scopes,
        audiences,
        amr,
        created_at,
        session_expires_at,
        session_idle_ms,
        refresh_expires_at,
        device,
    ) = _read(answer.body.decode())[0]
    session = object.__new__(Session)
    # A frozen dataclass sets its fields one by one the long way round, which takes four times as long as this.
    vars(session).update(
        id=session_id,
        user_id=user_id,
        username=username,
        client_id=client_id,
        scopes=tuple(scopes),
        audiences=tuple(audiences),
        amr=tuple(amr),
        created_at=created_at,
        seen_at=answer.idle_expires_at - session_idle_ms,
        session_expires_at=session_expires_at,
        session_idle_ms=session_idle_ms,
        refresh_expires_at=refresh_expires_at,
        refresh_idle_ms=0,
        refresh_idle_expires_at=None,
        device=Device(*device),
    )
    return session
