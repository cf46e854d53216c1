"""Second factors, their recovery codes, and when the user of a session proved again who they are."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"

_ID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_HASH = sa.LargeBinary(32)


def upgrade() -> None:
    """Add the tables, empty, and the column: NULL for who has not done so."""
    op.create_table(
        "second_factors",
        sa.Column("user_id", _ID, sa.ForeignKey("users.id", name="second_factors_user_id_fk")),
        sa.Column("sealed_secret", sa.LargeBinary),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("pending_secret", sa.LargeBinary),
        sa.Column("pending_at", sa.BigInteger),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="second_factors_pk"),
        sa.CheckConstraint(
            "(sealed_secret IS NULL) = (confirmed_at IS NULL)", name="second_factors_confirmed_whole"
        ),
        sa.CheckConstraint(
            "(pending_secret IS NULL) = (pending_at IS NULL)", name="second_factors_pending_whole"
        ),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _ID, sa.ForeignKey("users.id", name="recovery_codes_user_id_fk")),
        sa.Column("code_hash", _HASH),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name="recovery_codes_pk"),
        sa.CheckConstraint("length(code_hash) = 32", name="recovery_codes_code_hash_is_sha256"),
    )
    op.add_column("sessions", sa.Column("stepped_up_at", sa.BigInteger))
