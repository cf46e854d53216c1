"""Owns the tables as they are now. Leaves how they came to be so to `authsvc.stores.migrations`.

The same on PostgreSQL and SQLite. Times and durations are BIGINT milliseconds, lists are space-separated TEXT, hashes
are SHA-256 digests in 32 bytes; no column holds a token or a password. Names that are compared or sorted are ordered
by byte on both ("C").
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

ID = Uuid(as_uuid=False).with_variant(String(36), "sqlite")
HASH = LargeBinary(32)
BYTEWISE_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
ROW_NUMBER = BigInteger().with_variant(
    Integer, "sqlite"
)  # SQLite numbers rows by itself only if they are INTEGER


users = Table(
    "users",
    metadata,
    Column("id", ID, primary_key=True),
    Column("username", Text, nullable=False),
    Column("username_key", BYTEWISE_TEXT, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("password_changed_at", BigInteger, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("id", BYTEWISE_TEXT, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("permissions", Text, nullable=False),
    Column("audiences", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("certificate_names", Text, nullable=False, server_default=""),
    Column("updated_at", BigInteger),
)

# The names of active clients, for no two to have the same one.
client_certificate_names = Table(
    "client_certificate_names",
    metadata,
    Column("name", BYTEWISE_TEXT, primary_key=True),
    Column("client_id", BYTEWISE_TEXT, ForeignKey("clients.id"), nullable=False),
    Index("client_certificate_names_by_client", "client_id"),
)

client_keys = Table(
    "client_keys",
    metadata,
    Column("key_hash", HASH, primary_key=True),
    Column("client_id", BYTEWISE_TEXT, ForeignKey("clients.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    CheckConstraint("length(key_hash) = 32", name="key_hash_is_sha256"),
    Index("client_keys_by_client", "client_id"),
)

# `client_id` is not a foreign key: callers that need no registration may log users in. `username` is the user's name
# at login. `expires_at` is the later of the two absolute deadlines and never moves. `over_at` is when the session
# ended, or will if it is not used, as far as was known when somebody last looked: `housekeeping` looks again when that
# has passed. Room is left in each page, so that rotations, which touch no indexed column, stay within it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("user_id", ID, ForeignKey("users.id"), nullable=False),
    Column("username", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("audiences", Text, nullable=False),
    Column("amr", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("session_token_hash", HASH, unique=True),
    Column("session_expires_at", BigInteger),
    Column("session_idle_ms", BigInteger, nullable=False),
    Column("refresh_generation", BigInteger, nullable=False),
    Column("refresh_hash", HASH),
    Column("previous_refresh_hash", HASH),
    Column("sealed_successor", LargeBinary),
    Column("rotated_at", BigInteger),
    Column("replay_count", Integer, nullable=False),
    Column("refresh_expires_at", BigInteger),
    Column("refresh_idle_ms", BigInteger, nullable=False),
    Column("refresh_idle_expires_at", BigInteger),
    Column("ip_address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("device_label", Text, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoke_reason", Text),
    Column("rotated_ip_address", Text, nullable=False, server_default=""),
    Column("rotated_user_agent", Text, nullable=False, server_default=""),
    Column("stepped_up_at", BigInteger),
    Column("over_at", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("length(session_token_hash) = 32", name="session_token_hash_is_sha256"),
    CheckConstraint("length(refresh_hash) = 32", name="refresh_hash_is_sha256"),
    CheckConstraint("length(previous_refresh_hash) = 32", name="previous_refresh_hash_is_sha256"),
    CheckConstraint(
        "(session_token_hash IS NULL) = (session_expires_at IS NULL)", name="session_token_whole"
    ),
    CheckConstraint("(refresh_hash IS NULL) = (refresh_expires_at IS NULL)", name="refresh_token_whole"),
    CheckConstraint("(refresh_hash IS NULL) = (refresh_idle_expires_at IS NULL)", name="refresh_idle_whole"),
    CheckConstraint("(revoked_at IS NULL) = (revoke_reason IS NULL)", name="revoked_with_reason"),
    Index("sessions_by_user", "user_id", "created_at", "id"),
    Index("sessions_by_over", "over_at"),
    postgresql_with={"fillfactor": 70},
)

# Wrong guesses are counted here, in `failures` and `blocked_until`, so that they outlive any cache.
second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", ID, ForeignKey("users.id"), primary_key=True),
    Column("sealed_secret", LargeBinary),
    Column("confirmed_at", BigInteger),
    Column("last_step", BigInteger, nullable=False),
    Column("pending_secret", LargeBinary),
    Column("pending_at", BigInteger),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
    CheckConstraint("(sealed_secret IS NULL) = (confirmed_at IS NULL)", name="confirmed_whole"),
    CheckConstraint("(pending_secret IS NULL) = (pending_at IS NULL)", name="pending_whole"),
)

# Unused ones only: using one deletes it.
recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", ID, ForeignKey("users.id"), primary_key=True),
    Column("code_hash", HASH, primary_key=True),
    CheckConstraint("length(code_hash) = 32", name="code_hash_is_sha256"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("issued_before_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Index("revocations_by_expiry", "expires_at"),
)

# One row. Its lock puts revocations in an order: whoever holds it commits before the next one gets a revision.
log_state = Table(
    "log_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("registry", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# One row: what the instances share beside the log. `contracted` counts the steps of the schema that older versions
# cannot live with (see `authsvc.stores.migrations`); `housekeeper` is the instance that cleans up, until then.
deployment = Table(
    "deployment",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("contracted", Integer, nullable=False),
    Column("housekeeper", Text, nullable=False),
    Column("housekeeper_until", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("sealed_private", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("active_at", BigInteger),
    Column("retiring_at", BigInteger),
    Column("tainted_at", BigInteger),
    Column("taint_revision", BigInteger, nullable=False, server_default="0"),
    Column("taint_comment", Text, nullable=False, server_default=""),
)
_active = signing_keys.c.state == "active"
Index(
    "signing_keys_one_active",
    signing_keys.c.state,
    unique=True,
    postgresql_where=_active,
    sqlite_where=_active,
)

# Failed logins by a digest of what they are counted by (core.login_counters). `recent`, `daily`: how many within
# minutes and within a day; `…_until`: when each count is forgotten.
login_failures = Table(
    "login_failures",
    metadata,
    Column("counter", LargeBinary(16), primary_key=True),
    Column("recent", BigInteger, nullable=False),
    Column("recent_until", BigInteger, nullable=False),
    Column("daily", BigInteger, nullable=False),
    Column("daily_until", BigInteger, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
    Index("login_failures_by_end", "daily_until"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", ROW_NUMBER, Identity(), primary_key=True),
    Column("event", Text, nullable=False),
    Column("happened_at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("ip_address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("device_label", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("other_ip_address", Text, nullable=False, server_default=""),
    Column("other_user_agent", Text, nullable=False, server_default=""),
    Column("other_at", BigInteger),
    Index("audit_events_by_time", "happened_at"),
    Index("audit_events_by_user", "user_id", "happened_at"),
    Index("audit_events_by_session", "session_id", "happened_at"),
)
# For finding what is rare. Rotations are most of the log, and need no index of their own to be found in it.
_is_rare = audit_events.c.event != text("'token.rotated'")
Index(
    "audit_events_by_event",
    audit_events.c.event,
    audit_events.c.happened_at,
    postgresql_where=_is_rare,
    sqlite_where=_is_rare,
)
Index(
    "audit_events_by_user_rare",
    audit_events.c.user_id,
    audit_events.c.happened_at,
    postgresql_where=_is_rare,
    sqlite_where=_is_rare,
)
