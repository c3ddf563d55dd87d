"""The tables of who may do what, beside those of `database.py`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from headrace.workspace.database import Utc, metadata

people: Final = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text),
    sa.Column("invitation", sa.Text, unique=True),
    sa.Column("invited_until", Utc),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("disabled_at", Utc),
    sqlite_autoincrement=True,
)
"""`email` in lower case. `password` is an argon2 hash, None until it is chosen; `invitation` the digest of a code that chooses one, once."""
sessions: Final = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("person", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("used_at", Utc, nullable=False),
    sa.Column("expires_at", Utc, nullable=False),
)
tokens: Final = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("last_four", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("person", sa.Integer, sa.ForeignKey("people.id"), index=True),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("expires_at", Utc),
    sa.Column("used_at", Utc),
    sqlite_autoincrement=True,
)
"""`person` made it, None for the command line: it can never do more than that person may."""
audit: Final = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Utc, nullable=False, index=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("changes", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""`changes` is `{field: [before, after]}`, never with a secret's value."""
