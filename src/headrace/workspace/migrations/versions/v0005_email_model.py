"""What is chosen about the e-mail model: one row, at first without a text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    made = op.create_table(
        "email_model",
        sa.Column("settings", sa.Text),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.bulk_insert(made, [{"settings": None, "revision": 0}])
