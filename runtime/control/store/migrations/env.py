"""Alembic's entry: runs the revisions on the connection that migrate.py hands over, in one transaction."""

from __future__ import annotations

from alembic import context

from runtime.control.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through runtime.control.store.migrate, which supplies the connection")

context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
with context.begin_transaction():
    context.run_migrations()
