"""Owns turning values into messages. Leaves checking requests to `requests`.

On the path of every validation, so messages are filled in place, field by field: a constructor with keywords takes
four times as long, and copies the messages inside.
"""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.access_tokens import AccessToken
from authsvc.core.callers import Caller
from authsvc.core.clock import SECOND
from authsvc.core.exchange import Exchanged
from authsvc.core.explanation import Explanation
from authsvc.core.introspect import Introspected
from authsvc.core.login import LoggedIn
from authsvc.core.model import Client, KeyState, Revocation, Session, SigningKey, Subject, User
from authsvc.core.refresh import Refreshed
from authsvc.core.signing_keys import KeyRing
from authsvc.core.validate import LiveSession
from authsvc.rpc.requests import PERMISSIONS, REASONS
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_REASONS = {reason: number for number, reason in REASONS.items()}
_PERMISSIONS = {permission: number for number, permission in PERMISSIONS.items()}
_STATES = {
    KeyState.PREPARED: resources.SIGNING_KEY_STATE_PREPARED,
    KeyState.ACTIVE: resources.SIGNING_KEY_STATE_ACTIVE,
    KeyState.RETIRING: resources.SIGNING_KEY_STATE_RETIRING,
    KeyState.RETIRED: resources.SIGNING_KEY_STATE_RETIRED,
    KeyState.TAINTED: resources.SIGNING_KEY_STATE_TAINTED,
}


def timestamp(at: int | None) -> Timestamp | None:
    """Return the moment, or None for none."""
    if at is None:
        return None
    moment = Timestamp()
    _set(moment, at)
    return moment


def _set(moment: Timestamp, at: int) -> None:
    moment.seconds, milliseconds = divmod(at, SECOND)
    moment.nanos = milliseconds * 1_000_000


def session_message(session: Session, caller: Caller, current: bool = False) -> resources.Session:
    """Return the session as this caller may see it."""
    message = resources.Session()
    fill_session(message, session, caller)
    message.current = current
    return message


def fill_session(
    message: resources.Session, session: Session, caller: Caller, idle_expires_at: int | None = None
) -> None:
    """Write the session as this caller may see it. `idle_expires_at`: what a validation has just found."""
    message.id = session.id
    message.user_id = session.user_id
    if caller.may_see_username(session):
        message.username = session.username
    message.client_id = session.client_id
    message.scopes.extend(session.scopes)
    message.audiences.extend(session.audiences)
    message.amr.extend(session.amr)
    _fill_session_times(message, session, idle_expires_at or session.session_idle_expires_at)
    device, known = message.device, session.device
    device.ip_address = known.ip_address
    device.user_agent = known.user_agent
    device.label = known.label
    if session.revoke_reason is not None:
        message.revoke_reason = _REASONS[session.revoke_reason]


def _fill_session_times(message: resources.Session, session: Session, idle_expires_at: int | None) -> None:
    rotated_at, seen_at = session.rotated_at, session.seen_at
    _set(message.create_time, session.created_at)
    _set(message.last_seen_time, seen_at if rotated_at is None else max(seen_at, rotated_at))
    if session.session_expires_at is not None:
        _set(message.session_expire_time, session.session_expires_at)
    if idle_expires_at is not None:
        _set(message.session_idle_expire_time, idle_expires_at)
    if session.refresh_expires_at is not None:
        _set(message.refresh_expire_time, session.refresh_expires_at)
    if session.revoked_at is not None:
        _set(message.revoke_time, session.revoked_at)


def token_pair(session: Session, refresh_token: str, access: AccessToken) -> resources.TokenPair:
    """Return the pair."""
    return resources.TokenPair(
        access_token=access.text,
        token_type="Bearer",
        access_expire_time=timestamp(access.expires_at),
        refresh_token=refresh_token,
        refresh_expire_time=timestamp(session.refresh_idle_expires_at),
        scopes=access.scopes,
        audiences=access.audiences,
    )


def login_response(logged_in: LoggedIn, caller: Caller) -> pb.LoginResponse:
    """Return the session and the tokens that were issued."""
    session, access = logged_in.session, logged_in.access
    return pb.LoginResponse(
        session=session_message(session, caller),
        session_token=logged_in.session_token,
        tokens=token_pair(session, logged_in.refresh_token, access) if access else None,
    )


def refresh_response(refreshed: Refreshed, caller: Caller) -> pb.RefreshResponse:
    """Return the renewed pair."""
    return pb.RefreshResponse(
        session=session_message(refreshed.session, caller),
        tokens=token_pair(refreshed.session, refreshed.refresh_token, refreshed.access),
        replayed=refreshed.replayed,
    )


def introspect_response(
    found: Introspected | None, caller: Caller, issuer: str, revision: int
) -> pb.IntrospectResponse:
    """Return what RFC 7662 §2.2 tells; of an inactive token nothing at all."""
    response = pb.IntrospectResponse()
    if found is None:
        return response
    response.active = True
    response.token_type = found.token_type
    response.sub = found.user_id
    if found.session is not None and caller.may_see_username(found.session):
        response.username = found.session.username
    response.scope = " ".join(found.scopes)
    response.client_id = found.client_id
    response.aud.extend(found.audiences)
    response.iss = issuer
    response.exp = found.expires_at // SECOND
    response.iat = found.issued_at // SECOND
    response.jti = found.token_id
    response.sid = found.session_id
    _set(response.cache_until_time, found.cache_until_at)
    response.revision = revision
    return response


def revocation_message(entry: Revocation) -> resources.Revocation:
    """Return the entry."""
    message = resources.Revocation(
        revision=entry.revision,
        issued_before_time=timestamp(entry.issued_before_at),
        expire_time=timestamp(entry.expires_at),
    )
    match entry.subject:
        case Subject.SESSION:
            message.session_id = entry.subject_id
        case Subject.USER:
            message.user_id = entry.subject_id
        case Subject.KEY:
            message.key_id = entry.subject_id
        case Subject.EVERYONE:
            message.everyone = True
    return message


def public_key(key: SigningKey) -> resources.PublicKey:
    """Return the public half."""
    return resources.PublicKey(
        jwk=key.public_jwk,
        key_id=key.id,
        algorithm=key.algorithm,
        state=_STATES[key.state],
        create_time=timestamp(key.created_at),
    )


def signing_key(key: SigningKey) -> resources.PublicKey:
    """Return the public half and the key's life, for admins."""
    message = public_key(key)
    message.taint_revision = key.taint_revision
    message.taint_comment = key.taint_comment
    for moment, at in (
        (message.activate_time, key.active_at),
        (message.retire_time, key.retiring_at),
        (message.taint_time, key.tainted_at),
    ):
        if at is not None:
            _set(moment, at)
    return message


def public_keys(ring: KeyRing) -> list[resources.PublicKey]:
    """Return every believable key, active first."""
    return [public_key(key) for key in ring.keys]


def user_message(user: User) -> resources.User:
    """Return the user."""
    return resources.User(
        id=user.id,
        username=user.username,
        scopes=user.scopes,
        create_time=timestamp(user.created_at),
        disable_time=timestamp(user.disabled_at),
        password_change_time=timestamp(user.password_changed_at),
    )


def client_message(client: Client) -> resources.Client:
    """Return the client."""
    return resources.Client(
        id=client.id,
        display_name=client.display_name,
        permissions=sorted(_PERMISSIONS[permission] for permission in client.permissions),
        audiences=client.audiences,
        scopes=client.scopes,
        create_time=timestamp(client.created_at),
        revoke_time=timestamp(client.revoked_at),
    )


def validate_response(live: LiveSession, caller: Caller, revision: int) -> pb.ValidateSessionResponse:
    """Return the session that was found live."""
    response = pb.ValidateSessionResponse()
    fill_session(response.session, live.session, caller, live.idle_expires_at)
    response.revision = revision
    return response


def batch_response(
    found: Sequence[LiveSession | None], caller: Caller, revision: int
) -> pb.BatchValidateSessionsResponse:
    """Return one result per token, in order."""
    response = pb.BatchValidateSessionsResponse()
    for live in found:
        result = response.results.add()
        if live is not None:
            result.active = True
            fill_session(result.session, live.session, caller, live.idle_expires_at)
    response.revision = revision
    return response


def exchange_response(exchanged: Exchanged, caller: Caller, revision: int) -> pb.ExchangeSessionResponse:
    """Return the access token and the session it is for."""
    live, access = exchanged.live, exchanged.access
    response = pb.ExchangeSessionResponse(
        access_token=access.text,
        token_type="Bearer",
        access_expire_time=timestamp(access.expires_at),
        revision=revision,
    )
    fill_session(response.session, live.session, caller, live.idle_expires_at)
    return response


def explain_response(found: Explanation) -> admin.ExplainTokenResponse:
    """Return what is wrong with a token, and whose it is."""
    return admin.ExplainTokenResponse(
        active=found.active,
        findings=found.findings,
        token_type=found.token_type,
        session_id=found.session_id,
        user_id=found.user_id,
        client_id=found.client_id,
        key_id=found.key_id,
        expire_time=timestamp(found.expires_at),
    )
