"""Failed logins, counted by a digest of the name typed: they survive the loss of the cache."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "login_failures",
        sa.Column("counter", sa.LargeBinary(16), nullable=False),
        sa.Column("recent", sa.BigInteger, nullable=False),
        sa.Column("recent_until", sa.BigInteger, nullable=False),
        sa.Column("daily", sa.BigInteger, nullable=False),
        sa.Column("daily_until", sa.BigInteger, nullable=False),
        sa.Column("blocked_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("counter", name="login_failures_pk"),
    )
    op.create_index("login_failures_by_end", "login_failures", ["daily_until"])
