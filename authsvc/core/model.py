"""Owns the things the service speaks of, as plain immutable values. Leaves rules about them to their rooms.

Nothing here is secret except where the name says `hash` or `sealed`; no value here holds a token or a password.
"""

from dataclasses import dataclass, field
from enum import Enum


class RevokeReason(Enum):
    """Why a session ended before its time. Values are stored; never change one."""

    UNSPECIFIED = "unspecified"
    LOGOUT = "logout"
    USER = "user"
    ADMIN = "admin"
    PASSWORD_CHANGED = "password_changed"
    ACCOUNT_DISABLED = "account_disabled"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"
    EXPIRED = "expired"
    COMPROMISED = "compromised"


class Permission(Enum):
    """What a client may ask of the service."""

    LOGIN = "login"
    INTROSPECT = "introspect"
    ADMIN = "admin"

    __hash__ = (
        object.__hash__
    )  # asked for on every call; members are equal only to themselves, as Enum has it


class Subject(Enum):
    """What a revocation speaks of."""

    SESSION = "session"
    USER = "user"
    KEY = "key"
    EVERYONE = "everyone"


class KeyState(Enum):
    """Stage of life of a signing key."""

    PREPARED = "prepared"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    TAINTED = "tainted"


# How a user proved who they are (RFC 8176 §2), and the two levels of assurance that follow from it: one factor, or two
# (after the authenticator assurance levels of NIST SP 800-63B).
PASSWORD, ONE_TIME_CODE, MULTIPLE_FACTORS = "pwd", "otp", "mfa"
ONE_FACTOR, TWO_FACTORS = "aal1", "aal2"


@dataclass(frozen=True, slots=True)
class Device:
    """Where a login came from, for people to read."""

    ip_address: str = ""
    user_agent: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person who can log in. `username` is NFC as typed; stores compare `username_key` (see core.users)."""

    id: str
    username: str
    scopes: tuple[str, ...]
    created_at: int
    disabled_at: int | None
    password_changed_at: int


@dataclass(frozen=True, slots=True)
class UserSecret:
    """A user with what a login needs to check. `password_hash` is an argon2 string."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Client:
    """A registered caller. Empty `scopes` allow every scope of the user but core.grants.ADMIN_SCOPE.

    `certificate_names`: names in certificates that stand for a key (core.certificate_names).
    """

    id: str
    display_name: str
    permissions: frozenset[Permission]
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: int
    revoked_at: int | None = None
    certificate_names: tuple[str, ...] = ()
    updated_at: int | None = None


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A client's key by its SHA-256. `expires_at` is set when a newer key has replaced it."""

    key_hash: bytes
    client_id: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True)  # without slots: core.cached_sessions fills it in one go
class Session:
    """One login of one user through one client.

    The session token and the refresh token each have an absolute deadline (`…_expires_at`, None if that token was
    not issued) and an idle time. The session token's idle deadline lives in the cache; `seen_at` is its trace in SQL.
    `stepped_up_at`: when the user last proved who they are again (core.step_up). `amr`: how, in words of RFC 8176.
    """

    id: str
    user_id: str
    username: str
    client_id: str
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    amr: tuple[str, ...]
    created_at: int
    seen_at: int
    session_expires_at: int | None
    session_idle_ms: int
    refresh_expires_at: int | None
    refresh_idle_ms: int
    refresh_idle_expires_at: int | None
    device: Device = Device()
    rotated_at: int | None = None
    revoked_at: int | None = None
    revoke_reason: RevokeReason | None = None
    stepped_up_at: int | None = None

    @property
    def authenticated_at(self) -> int:
        """When the user last proved who they are: `auth_time` of access tokens."""
        return self.created_at if self.stepped_up_at is None else self.stepped_up_at

    @property
    def acr(self) -> str:
        """How far that is to be trusted: `acr` of access tokens."""
        return TWO_FACTORS if MULTIPLE_FACTORS in self.amr else ONE_FACTOR

    @property
    def session_idle_expires_at(self) -> int | None:
        """The session token's idle deadline as far as SQL knows; the cache may know a later one."""
        if self.session_expires_at is None:
            return None
        return min(self.seen_at + self.session_idle_ms, self.session_expires_at)

    def session_is_live(self, now: int) -> bool:
        """Whether the session token is good at `now`, judged by SQL's own (never too late) idle deadline."""
        deadline = self.session_idle_expires_at
        return self.revoked_at is None and deadline is not None and now < deadline


@dataclass(frozen=True, slots=True)
class RefreshState:
    """The part of a session row that refreshes race for (see core.refresh). `rotated_from`: who rotated last."""

    generation: int
    refresh_hash: bytes
    previous_hash: bytes | None
    rotated_at: int | None
    sealed_successor: bytes | None = field(repr=False)
    replay_count: int
    rotated_from: Device = Device()


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the revocation log. `subject_id` is empty for EVERYONE."""

    revision: int
    subject: Subject
    subject_id: str
    issued_before_at: int | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where the log stands. `epoch` is part of the cache generation; `registry` counts changes of clients and keys."""

    revision: int
    epoch: int
    registry: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key as stored.

    `sealed_private` is the PKCS#8 private key, encrypted (see core.signing_keys); empty once the key signs no more.
    `active_at`: since when it signs; of a prepared key, from when it is to, if that was asked for.
    """

    id: str
    algorithm: str
    state: KeyState
    public_jwk: str
    created_at: int
    sealed_private: bytes = field(repr=False)
    active_at: int | None = None
    retiring_at: int | None = None
    tainted_at: int | None = None
    taint_revision: int = 0
    taint_comment: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened, written in the same transaction as the change. No part of it may be secret.

    `id` is the number that the audit log gave it; 0 before it is written. `other_device`, `other_at`: of a theft, the
    other party.
    """

    event: str
    happened_at: int
    actor: str = ""
    user_id: str = ""
    session_id: str = ""
    client_id: str = ""
    device: Device = Device()
    reason: str = ""
    id: int = 0
    other_device: Device = Device()
    other_at: int | None = None
