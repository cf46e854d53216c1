"""Owns running the steps over the connection that `upgrade` opened. Alembic runs this file by its path."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
