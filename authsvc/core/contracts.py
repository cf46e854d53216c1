"""Owns what the rules ask of the outside world, as Protocols. Leaves the how to `authsvc.stores`.

Every method may raise `StoreUnavailable`, and then nothing is known: not that it happened, not that it did not.
A method that changes something MUST have committed durably when it returns, and MUST write the audit events it is
given in the same transaction. Times are milliseconds (core.clock); hashes are SHA-256 digests of 32 bytes.
Ids of users and sessions are UUID texts; anything else is unknown, never an error.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from authsvc.core.model import (
    AuditEvent,
    Device,
    LogPosition,
    RefreshState,
    Revocation,
    RevokeReason,
    Session,
    SigningKey,
    User,
    UserSecret,
)


class StoreUnavailable(Exception):
    """A store did not answer, or not in time. Nothing is known."""


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Hashes to store with a new session. None where that token is not issued."""

    session_hash: bytes | None
    refresh_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation to attempt: from (`generation`, `presented_hash`) to (`generation + 1`, `successor_hash`)."""

    session_id: str
    client_id: str
    generation: int
    presented_hash: bytes
    successor_hash: bytes
    sealed_successor: bytes = field(repr=False)
    now: int
    device: Device


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation did. `revision` is the newest it wrote, 0 if nothing was live."""

    revision: int
    entries: tuple[Revocation, ...]
    session_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RevokeOrder:
    """How to revoke: when, why, who asks, and how long an entry must outlive the access tokens it forbids."""

    revoked_at: int
    reason: RevokeReason
    token_ttl_ms: int
    audit: AuditEvent


class SessionStore(Protocol):
    """One row per session; everything that can race is a conditional statement on that row."""

    async def create(
        self, session: Session, tokens: NewTokens, password_changed_at: int, audit: AuditEvent
    ) -> bool:
        """Insert a session of generation 0.

        MUST insert only if the user is enabled and the password still the one set at `password_changed_at`, and MUST
        serialise with set_password and disable of that user, so that no session outlives either. False: not inserted;
        also if there is a session of this id.
        """

    async def get(self, session_id: str, *, urgent: bool = False) -> Session | None:
        """Return the session, live or ended. An urgent reading, in order to revoke, MUST not wait behind others."""

    async def get_by_session_hash(self, session_hash: bytes, *, urgent: bool = False) -> Session | None:
        """Return the session with this session token, live or ended. `urgent` as with `get`."""

    async def get_refresh(self, session_id: str) -> tuple[Session, RefreshState] | None:
        """Return the session and its refresh state, live or ended. None also if it has no refresh token."""

    async def rotate(self, rotation: Rotation, audit: AuditEvent) -> Session | None:
        """Rotate if and only if the row is exactly at the presented token, owned by the client, live and unexpired.

        MUST be one conditional UPDATE; of any number of concurrent calls at most one returns the session.
        Sets: generation+1, previous hash, hash, sealed successor, rotated_at=now, address and agent of the device,
        replay_count=0, and the refresh idle deadline to min(now + idle, absolute). On PostgreSQL at most two round
        trips, the audit row included.
        """

    async def replay(
        self,
        session_id: str,
        client_id: str,
        presented_hash: bytes,
        generation: int,
        rotated_after: int,
        limit: int,
        now: int,
        audit: AuditEvent,
    ) -> tuple[Session, bytes] | None:
        """Count one replay and return the session and the sealed successor, or None.

        MUST be one conditional UPDATE: row at `generation + 1`, previous hash = presented, rotated_at >= rotated_after,
        replay_count < limit, owned by the client, not revoked, refresh deadlines not passed at `now`.
        """

    async def step_up(
        self, session_id: str, amr: tuple[str, ...], session_hash: bytes, now: int, audit: AuditEvent
    ) -> tuple[Session, bytes | None] | None:
        """Set `amr`, `stepped_up_at` = now and, if the session has a session token, its hash, unless it is revoked or
        past its deadlines: None. Return the session and the hash replaced. MUST serialise with `revoke` and itself."""

    async def revoke(self, session_id: str, order: RevokeOrder) -> Revoked:
        """Revoke one session if it is not yet revoked. MUST number the log entry in the same transaction, in commit
        order and without gaps. A session not found or already revoked changes nothing: revision 0."""

    async def revoke_user(
        self, user_id: str, order: RevokeOrder, keep_session_id: str | None = None
    ) -> Revoked:
        """Revoke every live session of the user, but `keep_session_id`; one log entry each."""

    async def list_user(
        self, user_id: str, limit: int, before: tuple[int, str] | None, live_at: int | None
    ) -> Sequence[Session]:
        """Return sessions of the user by (created_at, id) descending, starting below `before`; with `live_at` only
        those not revoked and with a token unexpired at that time."""

    async def touch(self, seen: Mapping[str, int]) -> None:
        """Move `seen_at` forward to the given times by session id. MUST never move one back nor touch an ended one."""


class UserStore(Protocol):
    """Users by id and by `username_key` (the compared form of the name)."""

    async def create(self, user: User, username_key: str, password_hash: str, audit: AuditEvent) -> bool:
        """Insert the user. False if the key is taken."""

    async def get(self, user_id: str) -> User | None:
        """Return the user."""

    async def get_secret(self, username_key: str) -> UserSecret | None:
        """Return the user with the password hash, disabled or not."""

    async def get_by_username(self, username_key: str) -> User | None:
        """Return the user."""

    async def list(self, limit: int, after_key: str) -> Sequence[tuple[str, User]]:
        """Return (username_key, user) by key, starting above `after_key`."""

    async def rehash(self, user_id: str, old_hash: str, new_hash: str) -> None:
        """Replace the hash of the same password. MUST change nothing if the hash is no longer `old_hash`."""

    async def set_password(
        self,
        user_id: str,
        password_hash: str,
        order: RevokeOrder,
        keep_session_id: str | None = None,
        replaces: int | None = None,
    ) -> Revoked | None:
        """Set the hash, `password_changed_at` = order.revoked_at (MUST grow by at least 1), and revoke all sessions but
        `keep_session_id`, in one transaction. None if there is no such user. With `replaces`: None too, and MUST change
        nothing, unless the user is enabled and the password still the one set then."""

    async def set_scopes(
        self, user_id: str, scopes: Sequence[str], order: RevokeOrder
    ) -> tuple[User, Revoked] | None:
        """Replace the scopes. If that takes one away, MUST in the same transaction revoke all sessions and have
        `password_changed_at` grow, so that no login under way begins a session with it. None: no such user."""

    async def disable(self, user_id: str, order: RevokeOrder) -> tuple[User, Revoked] | None:
        """Disable and revoke all sessions in one transaction. Idempotent. None if there is no such user."""

    async def enable(self, user_id: str, audit: AuditEvent) -> User | None:
        """Enable. Idempotent. None if there is no such user."""


class RevocationLog(Protocol):
    """The log of revocations: gap-free revisions in commit order."""

    async def position(self) -> LogPosition:
        """Return where the log stands."""

    async def list_since(self, revision: int, limit: int) -> Sequence[Revocation]:
        """Return entries after `revision` in order, none skipped."""

    async def snapshot(self, now: int) -> tuple[LogPosition, AsyncIterator[Sequence[Revocation]]]:
        """Return a position and pages of entries unexpired at `now` with revisions up to it."""

    async def bump_epoch(self) -> int:
        """Make the whole cache cold, and return the new epoch."""


@dataclass(frozen=True, slots=True)
class TaintOrder:
    """How to distrust a key: when, why, until when, and who asks."""

    tainted_at: int
    comment: str
    expires_at: int
    audit: AuditEvent


class KeyStore(Protocol):
    """Signing keys.

    Changes MUST take turns, each deciding on what the one before committed, so that of several instances one makes
    a change and the others find it made; and each MUST increment the log's `registry` in the same transaction.
    A key that stops signing MUST lose its private half in the same transaction.
    """

    async def list(self, retired: bool = False) -> Sequence[SigningKey]:
        """Return every key, newest first; retired ones only if asked for."""

    async def create_active(self, key: SigningKey, audit: AuditEvent) -> bool:
        """Insert an active key. MUST change nothing and return False if there is an active key already."""

    async def prepare(self, key: SigningKey, audit: AuditEvent) -> bool:
        """Insert a prepared key. MUST change nothing and return False if there is a prepared key already."""

    async def plan(self, key_id: str, active_at: int, audit: AuditEvent) -> bool:
        """Say from when a prepared key is to sign. False if it is not prepared (any more)."""

    async def activate(self, key_id: str, active_at: int, audit: AuditEvent) -> bool:
        """Let a prepared key sign and the active one stop. False if it is not prepared (any more)."""

    async def retire(self, stopped_before: int, audit: AuditEvent) -> bool:
        """Retire the keys that stopped signing before then, each with an event that has its id as the reason. False if
        there is none."""

    async def taint(self, key_id: str, order: TaintOrder) -> Revocation | None:
        """Distrust a key in any state and write the log entry that says so, which is returned; of a key that was
        tainted before, that of then. If it was the active one, the prepared one signs from order.tainted_at on; if
        there is none, no key is active. None if there is no such key."""

    async def reseal(self, key_id: str, sealed: bytes, resealed: bytes, audit: AuditEvent) -> bool:
        """Replace the sealed private half. MUST change nothing and return False if it is no longer `sealed`."""


@dataclass(frozen=True, slots=True)
class CachedSession:
    """A session as cached: an opaque `body` (core.validate writes and reads it) and the times the cache acts on.

    `idle_expires_at` <= `expires_at`. `flushed_at` is the `seen_at` that SQL knows of.
    """

    body: bytes = field(repr=False)
    idle_expires_at: int
    idle_ms: int
    expires_at: int
    flushed_at: int


class CacheAnswer(NamedTuple):
    """A cached session found live: its body, its (perhaps moved) idle deadline, whether SQL is due to hear of it."""

    body: bytes
    idle_expires_at: int
    flush_due: bool


class Ended:
    """The cache remembers that this session has ended. One shared value: `ENDED`."""


ENDED = Ended()


class SessionCache(Protocol):
    """A disposable view of live sessions, which may lose anything at any time and must never bring anything back.

    Keys carry the generation (the server process's `run_id`, the log's epoch): a record is only ever believed if the
    very server process that took the write still answers, and the epoch has not moved. Every method may raise
    StoreUnavailable.
    """

    def validate(self, session_hash: bytes, now: int) -> Awaitable[CacheAnswer | Ended | None]:
        """Look one session up and slide its idle deadline, in one round trip.

        Live: `now < idle_expires_at`. Slides to min(now + idle_ms, expires_at), and skips the write unless the deadline
        moves by more than min(60 s, idle/20); flush_due once per idle/4. MUST never create a key. A record past its
        deadline is Ended. None: not known here.
        """

    async def validate_many(
        self, session_hashes: Sequence[bytes], now: int
    ) -> Sequence[CacheAnswer | Ended | None]:
        """`validate` for many in one script call (per slot on a cluster), in order."""

    async def add(self, session_hash: bytes, cached: CachedSession, now: int) -> None:
        """Write a record if, and only if, nothing is known of the hash (it loses against an `end`)."""

    async def end(self, session_hashes: Sequence[bytes]) -> None:
        """Remember that these have ended, long enough to outlive any `add` under way."""

    def set_epoch(self, epoch: int) -> None:
        """Believe only records of this epoch from now on."""


class Hints(Protocol):
    """Says over the cache's pub/sub that the log has moved. A lost hint costs half a second, never correctness."""

    async def publish(self) -> None:
        """Tell other instances to look at the log now. Never raises."""

    def listen(self) -> AsyncIterator[None]:
        """Yield whenever somebody says so. Reconnects by itself; ends only when closed."""
