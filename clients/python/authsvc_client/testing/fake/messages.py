"""Owns turning the fake's records into messages."""

import json

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1 import resources_pb2 as resources
from authsvc_client.testing.fake.records import Caller, Session
from authsvc_client.testing.throwaway_key import ThrowawayKey


def timestamp(at: int | None) -> Timestamp | None:
    """The moment (Unix ms), or None for none."""
    if at is None:
        return None
    return Timestamp(seconds=at // 1000, nanos=at % 1000 * 1_000_000)


def session_message(session: Session, caller: Caller, *, current: bool = False) -> resources.Session:
    """The session as this caller may see it."""
    has_session, has_tokens = session.session_expires_at is not None, session.refresh_expires_at is not None
    return resources.Session(
        id=session.id,
        user_id=session.user.id,
        username=session.user.username if caller.may_see_username(session) else "",
        client_id=session.client_id,
        scopes=session.scopes,
        audiences=session.audiences,
        amr=["pwd"],
        create_time=timestamp(session.created_at),
        last_seen_time=timestamp(max(session.seen_at, session.rotated_at)),
        session_expire_time=timestamp(session.session_expires_at),
        session_idle_expire_time=timestamp(session.session_idle_expires_at if has_session else None),
        refresh_expire_time=timestamp(session.refresh_expires_at if has_tokens else None),
        device=session.device,
        current=current,
        revoke_time=timestamp(session.revoked_at),
        revoke_reason=session.revoke_reason,
    )


def public_key(key: ThrowawayKey, created_at: int) -> resources.PublicKey:
    """The public half of the key that signs."""
    return resources.PublicKey(
        jwk=json.dumps(key.jwk),
        key_id=key.key_id,
        algorithm="ES256",
        state=resources.SIGNING_KEY_STATE_ACTIVE,
        create_time=timestamp(created_at),
    )
