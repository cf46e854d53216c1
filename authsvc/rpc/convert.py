"""Owns turning values into messages. Leaves checking requests to `requests`.

On the path of every validation, so messages are filled in place, field by field: a constructor with keywords takes
four times as long, and copies the messages inside.
"""

from collections.abc import Sequence
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.access_tokens import AccessToken
from authsvc.core.cached_sessions import LiveSession
from authsvc.core.callers import Caller
from authsvc.core.clock import SECOND
from authsvc.core.exchange import Exchanged
from authsvc.core.explanation import Explanation
from authsvc.core.introspect import Introspected
from authsvc.core.model import Client, KeyState, Revocation, Session, SigningKey, Subject, User
from authsvc.core.new_sessions import LoggedIn
from authsvc.core.refresh import Refreshed
from authsvc.core.signing_keys import KeyRing
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


def _set(moment: Timestamp, at: int | None) -> None:
    """Set a field of a message to a moment; leave it unset for none."""
    if at is not None:
        moment.seconds = at // SECOND
        moment.nanos = at % SECOND * 1_000_000


def session_message(session: Session, caller: Caller, current: bool = False) -> resources.Session:
    """Return the session as this caller may see it."""
    message = resources.Session()
    fill_session(message, session)
    _hide_username(message, session.user_id, caller)
    message.current = current
    return message


def fill_session(message: resources.Session, session: Session) -> None:
    """Write everything that can be shown of a session; the username is not for every caller."""
    rotated_at, seen_at = session.rotated_at, session.seen_at
    message.id = session.id
    message.user_id = session.user_id
    message.username = session.username
    message.client_id = session.client_id
    message.scopes.extend(session.scopes)
    message.audiences.extend(session.audiences)
    message.amr.extend(session.amr)
    message.acr = session.acr
    _set(message.create_time, session.created_at)
    _set(message.auth_time, session.authenticated_at)
    _set(message.last_seen_time, seen_at if rotated_at is None else max(seen_at, rotated_at))
    _set(message.session_expire_time, session.session_expires_at)
    _set(message.session_idle_expire_time, session.session_idle_expires_at)
    _set(message.refresh_expire_time, session.refresh_expires_at)
    device, known = message.device, session.device
    device.ip_address = known.ip_address
    device.user_agent = known.user_agent
    device.label = known.label
    _set(message.revoke_time, session.revoked_at)
    if session.revoke_reason is not None:
        message.revoke_reason = _REASONS[session.revoke_reason]


def fill_live(message: resources.Session, live: LiveSession, caller: Caller) -> None:
    """Write a session that a validation has found, as this caller may see it."""
    message.MergeFromString(live.shown)
    _hide_username(message, live.user_id, caller)
    _set(message.last_seen_time, live.seen_at)
    _set(message.session_idle_expire_time, live.idle_expires_at)


def _hide_username(message: resources.Session, user_id: str, caller: Caller) -> None:
    """Take the username out unless the caller may see whose session it is."""
    if not caller.may_see_username(user_id):
        message.ClearField("username")


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
        device_token=logged_in.device_token,
    )


def refresh_response(refreshed: Refreshed, caller: Caller) -> pb.RefreshResponse:
    """Return the renewed pair."""
    return pb.RefreshResponse(
        session=session_message(refreshed.session, caller),
        tokens=token_pair(refreshed.session, refreshed.refresh_token, refreshed.access),
        replayed=refreshed.replayed,
    )


def introspect_response(
    found: Introspected, caller: Caller, issuer: str, cache_until_at: int, revision: int
) -> pb.IntrospectResponse:
    """Return what RFC 7662 §2.2 tells of an active token."""
    response = pb.IntrospectResponse()
    response.MergeFromString(_told_again(found, issuer) if found.session is None else _told(found, issuer))
    if found.session is not None and caller.may_see_username(found.user_id):
        response.username = found.session.username
    _set(response.cache_until_time, cache_until_at)
    response.revision = revision
    return response


def _told(found: Introspected, issuer: str) -> bytes:
    """What is the same for every caller."""
    return pb.IntrospectResponse(
        active=True,
        token_type=found.token_type,
        sub=found.user_id,
        scope=" ".join(found.scopes),
        client_id=found.client_id,
        aud=found.audiences,
        iss=issuer,
        exp=found.expires_at // SECOND,
        iat=found.issued_at // SECOND,
        jti=found.token_id,
        sid=found.session_id,
        auth_time=found.authenticated_at // SECOND,
        amr=found.amr,
        acr=found.acr,
    ).SerializeToString()


# An access token is asked about again and again while it lives, and says the same each time.
_told_again = lru_cache(maxsize=10_000)(_told)


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
        certificate_names=client.certificate_names,
        update_time=timestamp(client.updated_at),
    )


def validate_response(live: LiveSession, caller: Caller, revision: int) -> pb.ValidateSessionResponse:
    """Return the session that was found live."""
    response = pb.ValidateSessionResponse()
    fill_live(response.session, live, caller)
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
            fill_live(result.session, live, caller)
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
    fill_live(response.session, live, caller)
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
