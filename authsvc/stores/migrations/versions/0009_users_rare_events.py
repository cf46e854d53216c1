"""The audit log by user, without what is common: what a user is shown is found without reading every renewal."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the index."""
    is_rare = sa.text("event != 'token.rotated'")
    op.create_index(
        "audit_events_by_user_rare",
        "audit_events",
        ["user_id", "happened_at"],
        postgresql_where=is_rare,
        sqlite_where=is_rare,
    )
