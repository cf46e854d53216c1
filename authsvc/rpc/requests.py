"""Owns checking what requests say before any rule sees it: sizes, characters, enums. Leaves meaning to the rules.

Everything wrong with a request is reported at once, each with the field it is in.
"""

from collections.abc import Sequence

from authsvc.core.errors import InvalidRequest
from authsvc.core.login_challenge import Wanted
from authsvc.core.model import Device, Permission, RevokeReason
from authsvc.core.password_rules import PASSWORD_MAX_BYTES
from authsvc.core.revoke import BySession, ByToken, ByUser, OtherSessions, Target
from authsvc.core.scopes import NAMES_MAX
from authsvc.core.usernames import USERNAME_MAX_BYTES
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

TOKEN_MAX_BYTES = 4096
BATCH_MAX = 256
_AGENT_MAX_BYTES = 512
_LABEL_MAX_BYTES = 128
_ADDRESS_MAX_BYTES = 64
_ID_MAX_BYTES = 64
_NAME_MAX_BYTES = 128

REASONS = {
    resources.REVOKE_REASON_UNSPECIFIED: RevokeReason.UNSPECIFIED,
    resources.REVOKE_REASON_LOGOUT: RevokeReason.LOGOUT,
    resources.REVOKE_REASON_USER: RevokeReason.USER,
    resources.REVOKE_REASON_ADMIN: RevokeReason.ADMIN,
    resources.REVOKE_REASON_PASSWORD_CHANGED: RevokeReason.PASSWORD_CHANGED,
    resources.REVOKE_REASON_ACCOUNT_DISABLED: RevokeReason.ACCOUNT_DISABLED,
    resources.REVOKE_REASON_REFRESH_TOKEN_REUSED: RevokeReason.REFRESH_TOKEN_REUSED,
    resources.REVOKE_REASON_EXPIRED: RevokeReason.EXPIRED,
    resources.REVOKE_REASON_COMPROMISED: RevokeReason.COMPROMISED,
}
PERMISSIONS = {
    resources.PERMISSION_LOGIN: Permission.LOGIN,
    resources.PERMISSION_INTROSPECT: Permission.INTROSPECT,
    resources.PERMISSION_ADMIN: Permission.ADMIN,
}


class Checks:
    """Gathers what is wrong with a request; `done` raises it all."""

    def __init__(self) -> None:
        self._violations: list[tuple[str, str]] = []

    def text(self, field: str, value: str, most: int, *, needed: bool = True) -> str:
        """Check a text: not empty if needed, at most `most` bytes, no control characters."""
        if needed and not value:
            self._add(field, "must not be empty")
        elif len(value.encode()) > most:
            self._add(field, f"must be at most {most} bytes")
        elif not value.isprintable() and any(character < " " or character == "\x7f" for character in value):
            self._add(field, "must hold no control characters")
        return value

    def names(self, field: str, values: Sequence[str]) -> Sequence[str]:
        """Check scopes or audiences."""
        if len(values) > NAMES_MAX:
            self._add(field, f"must be at most {NAMES_MAX}")
        for value in values:
            self.text(field, value, _NAME_MAX_BYTES)
        return values

    def that(self, holds: bool, field: str, otherwise: str) -> None:
        """Check any one thing."""
        if not holds:
            self._add(field, otherwise)

    def done(self) -> None:
        """Raise InvalidRequest if anything was wrong."""
        if self._violations:
            raise InvalidRequest(*dict.fromkeys(self._violations))

    def _add(self, field: str, description: str) -> None:
        self._violations.append((field, description))


def check_login(request: pb.LoginRequest) -> None:
    """Raises InvalidRequest unless a LoginRequest is well-formed."""
    checks = Checks()
    checks.text("username", request.username, USERNAME_MAX_BYTES)
    checks.that(
        len(request.password.encode()) <= PASSWORD_MAX_BYTES,
        "password",
        f"must be at most {PASSWORD_MAX_BYTES} bytes",
    )
    check_device(checks, request.device)
    checks.names("audiences", request.audiences)
    checks.names("scopes", request.scopes)
    known = (resources.CREDENTIAL_SESSION, resources.CREDENTIAL_TOKENS)
    checks.that(
        all(credential in known for credential in request.credentials),
        "credentials",
        "must be CREDENTIAL_SESSION or CREDENTIAL_TOKENS",
    )
    checks.that(not request.one_time_code, "one_time_code", "must come with challenge_token")
    checks.text("device_token", request.device_token, TOKEN_MAX_BYTES, needed=False)
    checks.done()


def check_change_password(request: pb.ChangePasswordRequest) -> None:
    """Raises InvalidRequest unless a ChangePasswordRequest is well-formed. Password rules come later, in the core."""
    checks = Checks()
    for field in ("current_password", "new_password"):
        size = len(getattr(request, field).encode())
        checks.that(size > 0, field, "must not be empty")
        checks.that(size <= PASSWORD_MAX_BYTES, field, f"must be at most {PASSWORD_MAX_BYTES} bytes")
    checks.done()


def wanted(request: pb.LoginRequest, where: Device) -> Wanted:
    """Return what the client wants of a login."""
    credentials = request.credentials
    return Wanted(
        where,
        audiences=tuple(request.audiences),
        scopes=tuple(request.scopes),
        session=not credentials or resources.CREDENTIAL_SESSION in credentials,
        tokens=not credentials or resources.CREDENTIAL_TOKENS in credentials,
        remember=request.remember,
        cookies=request.cookies,
    )


def check_refresh(request: pb.RefreshRequest, token: str) -> None:
    """Raises InvalidRequest unless a RefreshRequest with this token is well-formed."""
    checks = Checks()
    checks.text("refresh_token", token, TOKEN_MAX_BYTES)
    check_device(checks, request.device)
    checks.names("audiences", request.audiences)
    checks.names("scopes", request.scopes)
    checks.done()


def check_exchange(request: pb.ExchangeSessionRequest, token: str) -> None:
    """Raises InvalidRequest unless an ExchangeSessionRequest with this token is well-formed."""
    checks = Checks()
    checks.text("session_token", token, TOKEN_MAX_BYTES)
    checks.names("audiences", request.audiences)
    checks.names("scopes", request.scopes)
    checks.done()


def check_batch(request: pb.BatchValidateSessionsRequest) -> None:
    """Raises InvalidRequest unless a BatchValidateSessionsRequest holds 1 to 256 tokens."""
    if not 1 <= len(request.session_tokens) <= BATCH_MAX:
        raise InvalidRequest(("session_tokens", f"must be 1 to {BATCH_MAX}"))


def check_introspect(request: pb.IntrospectRequest) -> None:
    """Raises InvalidRequest unless an IntrospectRequest names a token."""
    if not request.token:
        raise InvalidRequest(("token", "must not be empty"))


def check_session_token(token: str) -> str:
    """Return the token. Raises InvalidRequest if there is none."""
    if not token:
        raise InvalidRequest(("session_token", "must not be empty"))
    return token


def revoke_target(request: pb.RevokeRequest, cookie: str) -> Target:
    """Return what a RevokeRequest names: without a target the session of the cookie. Raises InvalidRequest."""
    match request.WhichOneof("target"):
        case "token":
            return ByToken(named("token", request.token, TOKEN_MAX_BYTES))
        case "session_id":
            return BySession(named("session_id", request.session_id))
        case "user_id":
            return ByUser(named("user_id", request.user_id))
        case "other_sessions" if request.other_sessions:
            return OtherSessions()
        case None if cookie:
            return ByToken(named("cookie", cookie, TOKEN_MAX_BYTES))
    raise InvalidRequest(("target", "must name what to revoke"))


def revoke_reason(request: pb.RevokeRequest) -> RevokeReason:
    """Return the reason. Raises InvalidRequest for a number that is none."""
    if request.reason not in REASONS:
        raise InvalidRequest(("reason", "must be a RevokeReason"))
    return REASONS[request.reason]


def from_revision(request: pb.WatchRequest) -> int:
    """Return the revision to begin after. Raises InvalidRequest for a negative one."""
    if request.from_revision < 0:
        raise InvalidRequest(("from_revision", "must not be negative"))
    return request.from_revision


def permissions(values: Sequence["resources.Permission.ValueType"]) -> frozenset[Permission]:
    """Return the permissions. Raises InvalidRequest for a number that is none."""
    if not all(value in PERMISSIONS for value in values):
        raise InvalidRequest(("permissions", "must each be a Permission"))
    return frozenset(PERMISSIONS[value] for value in values)


def device(request: pb.LoginRequest | pb.RefreshRequest | pb.StepUpRequest, ip_address: str) -> Device:
    """Return the device that a request speaks of, at the address that is believed."""
    return Device(ip_address, request.device.user_agent, request.device.label)


def check_device(checks: Checks, said: resources.Device) -> None:
    """Check what a request says of where the user is."""
    checks.text("device.ip_address", said.ip_address, _ADDRESS_MAX_BYTES, needed=False)
    checks.text("device.user_agent", said.user_agent, _AGENT_MAX_BYTES, needed=False)
    checks.text("device.label", said.label, _LABEL_MAX_BYTES, needed=False)


def named(field: str, value: str, most: int = _ID_MAX_BYTES) -> str:
    """Return a text that must be there. Raises InvalidRequest if it is not, is long or holds control characters."""
    checks = Checks()
    checks.text(field, value, most)
    checks.done()
    return value


def check_create_user(request: admin.CreateUserRequest) -> None:
    """Raises InvalidRequest unless a CreateUserRequest is well-formed. Password rules come later, in the core."""
    checks = Checks()
    checks.text("username", request.username, USERNAME_MAX_BYTES)
    checks.names("scopes", request.scopes)
    checks.done()


def plain(field: str, value: str) -> str:
    """Return a text that may be empty. Raises InvalidRequest if it is long or holds control characters."""
    checks = Checks()
    checks.text(field, value, USERNAME_MAX_BYTES, needed=False)
    checks.done()
    return value


def explained(request: admin.ExplainTokenRequest) -> str:
    """Return the token to explain, whatever it looks like. Raises InvalidRequest unless the request is well-formed."""
    checks = Checks()
    checks.that(bool(request.token), "token", "must not be empty")
    checks.text("audience", request.audience, _NAME_MAX_BYTES, needed=False)
    checks.done()
    return request.token


def verifier_at(request: admin.ExplainTokenRequest) -> int | None:
    """Return what the clock of the refusing service shows, if that is told. Raises InvalidRequest."""
    if not request.HasField("verifier_time"):
        return None
    try:
        return int(request.verifier_time.ToMilliseconds())
    except ValueError:
        raise InvalidRequest(("verifier_time", "must be a time")) from None
