"""The audit log by event: what is rare is found without reading what is common."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index."""
    is_rare = sa.text("event != 'token.rotated'")
    op.create_index(
        "audit_events_by_event",
        "audit_events",
        ["event", "happened_at"],
        postgresql_where=is_rare,
        sqlite_where=is_rare,
    )
