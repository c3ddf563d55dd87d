"""Warehouses, and the embedded one that every workspace begins with."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    table = op.create_table(
        "warehouses",
        sa.Column("slug", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("nickname", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("sealed", sa.Text),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("selection", sa.JSON, nullable=False),
        sa.Column("retyped", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("removed_at", sa.DateTime),
    )
    # What a folder of an earlier release has anyway: warehouse.duckdb, whose position is kept under this name.
    op.bulk_insert(
        table,
        [
            {
                "slug": "warehouse",
                "kind": "duckdb",
                "nickname": "Warehouse",
                "settings": {},
                "paused": False,
                "selection": {},
                "retyped": [],
                "created_at": datetime.now(UTC).replace(tzinfo=None),
            }
        ],
    )
