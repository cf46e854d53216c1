"""Owns what the fake remembers: users, clients, sessions, callers. Leaves the rules to the files beside it.

Times are Unix milliseconds.
"""

from dataclasses import dataclass, field
from typing import Final

from authsvc.v1 import resources_pb2 as resources

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long things live; the defaults are those of authsvc."""

    session_idle_ms: int = 30 * _MINUTE
    session_ms: int = 12 * _HOUR
    remember_idle_ms: int = 14 * _DAY
    remember_ms: int = 90 * _DAY
    refresh_idle_ms: int = 30 * _DAY
    refresh_ms: int = 90 * _DAY
    access_ms: int = 5 * _MINUTE


@dataclass(slots=True)
class User:
    """A person who can log in."""

    id: str
    username: str
    password: str = field(repr=False)
    scopes: tuple[str, ...]
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """A registered caller. `permissions` are of `login`, `introspect` and `admin`."""

    id: str
    permissions: frozenset[str]
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(slots=True)
class Session:
    """One login. Deadlines that are None belong to a credential that the login did not issue.

    `newest` and `previous` are refresh tokens: that of `generation`, and the one it replaced at `rotated_at`.
    """

    id: str
    user: User
    client_id: str
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    device: resources.Device
    created_at: int
    seen_at: int
    session_idle_ms: int
    session_expires_at: int | None
    session_idle_expires_at: int
    refresh_expires_at: int | None
    refresh_idle_expires_at: int
    generation: int = 0
    newest: str = field(default="", repr=False)
    previous: str = field(default="", repr=False)
    rotated_at: int = 0
    replay_count: int = 0
    revoked_at: int | None = None
    revoke_reason: "resources.RevokeReason.ValueType" = resources.REVOKE_REASON_UNSPECIFIED

    def session_is_live(self, now: int) -> bool:
        """Whether the session token is good."""
        absolute = self.session_expires_at
        return (
            self.revoked_at is None
            and absolute is not None
            and now < min(absolute, self.session_idle_expires_at)
        )

    def refresh_is_live(self, now: int) -> bool:
        """Whether the newest refresh token is good."""
        absolute = self.refresh_expires_at
        return (
            self.revoked_at is None
            and absolute is not None
            and now < min(absolute, self.refresh_idle_expires_at)
        )

    @property
    def last_deadline(self) -> int:
        """When nothing of the session can be renewed any more."""
        return max(self.session_expires_at or 0, self.refresh_expires_at or 0)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a client, a user (both ids), or nobody."""

    client_id: str = ""
    user_id: str = ""
    session_id: str = ""
    permissions: frozenset[str] = frozenset()

    @property
    def is_known(self) -> bool:
        """Whether this is anybody at all."""
        return bool(self.client_id)

    @property
    def is_admin(self) -> bool:
        """Whether this is a client with `admin`."""
        return "admin" in self.permissions

    def may_see_username(self, session: Session) -> bool:
        """Whether the caller may be told the name of the session's user."""
        return not self.permissions.isdisjoint({"login", "admin"}) or self.user_id == session.user.id


NOBODY: Final = Caller()
