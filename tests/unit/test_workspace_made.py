"""A new workspace is made without Alembic, and is what the migrations make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic import config as alembic_config

from headrace.workspace import database


def _made_by(engine: sa.Engine, table: str) -> str:
    """What an inspector does not tell stands here."""
    with engine.connect() as connection:
        return str(
            connection.exec_driver_sql("SELECT upper(sql) FROM sqlite_master WHERE name = ?", (table,)).scalar_one()
        )


def contents(engine: sa.Engine) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Columns, keys and indexes of each table; and its rows, but for when they were made."""
    looked = sa.inspect(engine)
    names = sorted(looked.get_table_names())
    shapes = {
        name: (
            [{key: str(value) for key, value in column.items()} for column in looked.get_columns(name)],
            looked.get_pk_constraint(name)["constrained_columns"],
            sorted((str(index["name"]), index["column_names"], index["unique"]) for index in looked.get_indexes(name)),
            sorted(str(found["column_names"]) for found in looked.get_unique_constraints(name)),
            "AUTOINCREMENT" in _made_by(engine, name),
            "CHECK" in _made_by(engine, name),
            sorted(
                (str(found["constrained_columns"]), found["referred_table"], str(found["options"]))
                for found in looked.get_foreign_keys(name)
            ),
        )
        for name in names
    }
    with engine.connect() as connection:
        rows = {
            name: [re.sub(r"\d{4}-\d\d-\d\d [\d:.]+", "then", str(row)) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
            for name in names
        }  # fmt: skip
    engine.dispose()
    return shapes, rows


def test_a_new_workspace_is_what_the_migrations_make(tmp_path: Path) -> None:
    migrated = sa.create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(database.MIGRATIONS))
    with migrated.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    made = sa.create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    with made.begin() as connection:
        database.make(connection)
    expected, found = contents(migrated), contents(made)
    assert expected[0].keys() == found[0].keys()
    for name, shape in expected[0].items():
        assert shape == found[0][name], name
    assert expected[1] == found[1]
    assert found[1]["alembic_version"] == [f"('{database.HEAD}',)"]
