"""Both parties of a theft: who rotated a refresh token last, and in the audit log the other party."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns. Of rotations before, nobody knows where they came from."""
    _add_text("sessions", "rotated_ip_address")
    _add_text("sessions", "rotated_user_agent")
    _add_text("audit_events", "other_ip_address")
    _add_text("audit_events", "other_user_agent")
    op.add_column("audit_events", sa.Column("other_at", sa.BigInteger))


def _add_text(table: str, column: str) -> None:
    op.add_column(table, sa.Column(column, sa.Text, nullable=False, server_default=""))
