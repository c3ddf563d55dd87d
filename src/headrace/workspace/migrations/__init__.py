"""Alembic migrations of the workspace, run at open. A migration is never changed once released; database.HEAD names the newest."""
