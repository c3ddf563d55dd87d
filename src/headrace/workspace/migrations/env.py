"""Runs migrations on the connection that `database.py` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

# SQLite's DDL is transactional once the driver leaves BEGIN to us
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
