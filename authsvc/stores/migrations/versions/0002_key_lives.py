"""Signing keys: since when each signs, when it stopped, when and why it was distrusted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is known of a key's life. A key that signs has done so since it was made."""
    op.add_column("signing_keys", sa.Column("active_at", sa.BigInteger))
    op.add_column("signing_keys", sa.Column("retiring_at", sa.BigInteger))
    op.add_column("signing_keys", sa.Column("tainted_at", sa.BigInteger))
    op.add_column(
        "signing_keys", sa.Column("taint_revision", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column("signing_keys", sa.Column("taint_comment", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE signing_keys SET active_at = created_at WHERE state = 'active'")
