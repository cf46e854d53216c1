"""Clients that call with certificates, and when a registration was last changed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BYTEWISE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the names, and a table in which no two active clients can have the same one."""
    op.add_column("clients", sa.Column("certificate_names", sa.Text, nullable=False, server_default=""))
    op.add_column("clients", sa.Column("updated_at", sa.BigInteger))
    op.create_table(
        "client_certificate_names",
        sa.Column("name", _BYTEWISE_TEXT, nullable=False),
        sa.Column("client_id", _BYTEWISE_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="client_certificate_names_pk"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="client_certificate_names_client_id_fk"),
    )
    op.create_index("client_certificate_names_by_client", "client_certificate_names", ["client_id"])
