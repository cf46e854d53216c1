"""The first schema: users, clients, sessions, the revocation log, signing keys, the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_HASH = sa.LargeBinary(32)
_BYTEWISE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create everything, and the one row of the log's state."""
    _create_users()
    _create_clients()
    _create_sessions()
    _create_log()
    _create_signing_keys()
    _create_audit()


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("username_key", _BYTEWISE_TEXT, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("password_changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="users_pk"),
        sa.UniqueConstraint("username_key", name="users_username_key_key"),
    )


def _create_clients() -> None:
    op.create_table(
        "clients",
        sa.Column("id", _BYTEWISE_TEXT, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("audiences", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="clients_pk"),
    )
    op.create_table(
        "client_keys",
        sa.Column("key_hash", _HASH, nullable=False),
        sa.Column("client_id", _BYTEWISE_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.CheckConstraint("length(key_hash) = 32", name="client_keys_key_hash_is_sha256"),
        sa.PrimaryKeyConstraint("key_hash", name="client_keys_pk"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="client_keys_client_id_fk"),
    )
    op.create_index("client_keys_by_client", "client_keys", ["client_id"])


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("audiences", sa.Text, nullable=False),
        sa.Column("amr", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("session_token_hash", _HASH),
        sa.Column("session_expires_at", sa.BigInteger),
        sa.Column("session_idle_ms", sa.BigInteger, nullable=False),
        sa.Column("refresh_generation", sa.BigInteger, nullable=False),
        sa.Column("refresh_hash", _HASH),
        sa.Column("previous_refresh_hash", _HASH),
        sa.Column("sealed_successor", sa.LargeBinary),
        sa.Column("rotated_at", sa.BigInteger),
        sa.Column("replay_count", sa.Integer, nullable=False),
        sa.Column("refresh_expires_at", sa.BigInteger),
        sa.Column("refresh_idle_ms", sa.BigInteger, nullable=False),
        sa.Column("refresh_idle_expires_at", sa.BigInteger),
        sa.Column("ip_address", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("device_label", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoke_reason", sa.Text),
        *_session_constraints(),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("sessions_by_user", "sessions", ["user_id", "created_at", "id"])
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])


def _session_constraints() -> list[sa.Constraint]:
    checks = {
        "session_token_hash_is_sha256": "length(session_token_hash) = 32",
        "refresh_hash_is_sha256": "length(refresh_hash) = 32",
        "previous_refresh_hash_is_sha256": "length(previous_refresh_hash) = 32",
        "session_token_whole": "(session_token_hash IS NULL) = (session_expires_at IS NULL)",
        "refresh_token_whole": "(refresh_hash IS NULL) = (refresh_expires_at IS NULL)",
        "refresh_idle_whole": "(refresh_hash IS NULL) = (refresh_idle_expires_at IS NULL)",
        "revoked_with_reason": "(revoked_at IS NULL) = (revoke_reason IS NULL)",
    }
    return [
        *(sa.CheckConstraint(condition, name=f"sessions_{name}") for name, condition in checks.items()),
        sa.PrimaryKeyConstraint("id", name="sessions_pk"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="sessions_user_id_fk"),
        sa.UniqueConstraint("session_token_hash", name="sessions_session_token_hash_key"),
    ]


def _create_log() -> None:
    op.create_table(
        "revocations",
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("issued_before_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="revocations_pk"),
    )
    op.create_index("revocations_by_expiry", "revocations", ["expires_at"])
    log_state = op.create_table(
        "log_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("registry", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="log_state_one_row"),
        sa.PrimaryKeyConstraint("id", name="log_state_pk"),
    )
    op.bulk_insert(log_state, [{"id": 1, "revision": 0, "epoch": 1, "registry": 0}])


def _create_signing_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("public_jwk", sa.Text, nullable=False),
        sa.Column("sealed_private", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="signing_keys_pk"),
    )
    active = sa.text("state = 'active'")
    op.create_index(
        "signing_keys_one_active",
        "signing_keys",
        ["state"],
        unique=True,
        postgresql_where=active,
        sqlite_where=active,
    )


def _create_audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", _ROW_NUMBER, sa.Identity(), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("happened_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("ip_address", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("device_label", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="audit_events_pk"),
    )
    op.create_index("audit_events_by_time", "audit_events", ["happened_at"])
    op.create_index("audit_events_by_user", "audit_events", ["user_id", "happened_at"])
    op.create_index("audit_events_by_session", "audit_events", ["session_id", "happened_at"])
