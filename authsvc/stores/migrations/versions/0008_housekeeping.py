"""Housekeeping: when a session was over as far as is known, and what the instances of a deployment share."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column, 0 for sessions that nobody has looked at yet, and the one row of the deployment.

    No statement looks sessions up by `expires_at` any more, so its index goes.
    """
    op.add_column("sessions", sa.Column("over_at", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("sessions_by_over", "sessions", ["over_at"])
    op.drop_index("sessions_by_expiry", "sessions")
    deployment = op.create_table(
        "deployment",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("contracted", sa.Integer, nullable=False),
        sa.Column("housekeeper", sa.Text, nullable=False),
        sa.Column("housekeeper_until", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="deployment_one_row"),
        sa.PrimaryKeyConstraint("id", name="deployment_pk"),
    )
    op.bulk_insert(deployment, [{"id": 1, "contracted": 0, "housekeeper": "", "housekeeper_until": 0}])
