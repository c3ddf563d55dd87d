"""The role of docs/bi/ reads the schema `email` on PostgreSQL, also after a rebuild, and nothing else; the queries of these pages run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import pytest

import mailed
from headrace.reports.model.model import EmailModel
from headrace.reports.model.schema import TABLES
from headrace.simulator.realism import PLAIN
from headrace.warehouses.base import Deriving, Warehouse
from postgresql_server import PostgreSQLServer, kind, shared

DOCS: Final = Path(__file__).parents[2] / "docs/bi"
PASSWORD: Final = "another long random password"
MACRO: Final = re.compile(r"\$__timeFilter\(([^)]+)\)")
DENIED: Final = re.compile("permission denied|must be owner")
REFUSED: Final = re.compile(f"{DENIED.pattern}|read-only transaction")
PERIOD: Final = r"\1 BETWEEN '2026-10-01T00:00:00Z' AND '2026-12-01T00:00:00Z'"


def blocks(file: Path) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)


QUERIES: Final = [block for file in sorted(DOCS.glob("*.md")) for block in blocks(file) if block.startswith("SELECT")]


class Scene(NamedTuple):
    server: PostgreSQLServer
    database: str
    warehouse: Warehouse
    role: str

    def read(self, *statements: str) -> list[tuple[Any, ...]]:
        """As the role that reads, each in a transaction of its own. The rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        dsn = self.server.dsn(self.database, self.role, PASSWORD) + "?connect_timeout=30"
        with adbc_driver_postgresql.dbapi.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
                    cursor.execute(statement)
                    found = cursor.fetch_arrow_table()
                    rows = list(zip(*(column.to_pylist() for column in found.columns), strict=True))
        return rows

    def role_made(self) -> None:
        (block,) = blocks(DOCS / "README.md")
        statements = re.sub(r"\bbi\b", self.role, block).replace("DATABASE warehouse", f"DATABASE {self.database}")
        self.server.sql(*statements.strip().rstrip(";").split(";\n"), database=self.database)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The role of the page, called otherwise so that it is this test's own."""
    server = shared()
    database = server.database()
    warehouse = kind(server.dsn(database)).open()
    found = Scene(server, database, warehouse, f"bi_{database}")
    try:
        mailed.loaded(warehouse, list(mailed.entries(60, 1, PLAIN)))
        mailed.modelled(warehouse)
        found.role_made()
        yield found
    finally:
        warehouse.close()
        server.sql(f"DROP OWNED BY {found.role}", database=database)
        server.sql(f"DROP ROLE {found.role}")


def test_the_role_reads_every_table(scene: Scene) -> None:
    assert [] == [name for name in TABLES if len(scene.read(f"SELECT count(*) FROM email.{name}")) != 1]
    assert scene.read("SELECT delivered FROM email.campaigns")


def test_the_role_reads_after_a_rebuild_and_what_is_added(scene: Scene) -> None:
    assert isinstance(scene.warehouse, Deriving)
    before = scene.read("SELECT campaign_id, delivered FROM email.campaigns ORDER BY 1")
    views = ["CREATE SCHEMA own", "CREATE VIEW own.campaigns AS SELECT * FROM email.campaigns"]
    scene.warehouse.derive(lambda derivation: derivation.run(views))
    model = EmailModel(scene.warehouse, mailed.MAIL_SOURCES, mailed.MODEL)
    model.rebuild(scene.warehouse.tables())
    assert before == scene.read("SELECT campaign_id, delivered FROM email.campaigns ORDER BY 1")
    scene.warehouse.derive(lambda derivation: derivation.run(["CREATE TABLE email.of_a_later_version (n bigint)"]))
    assert [] == scene.read("SELECT n FROM email.of_a_later_version")
    scene.warehouse.derive(lambda derivation: derivation.run(["DROP TABLE email.of_a_later_version"]))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM email.campaigns",
        "UPDATE email.campaigns SET orders = 1",
        "TRUNCATE email.campaigns",
        "DROP TABLE email.campaigns",
        "CREATE TABLE email.mine (n bigint)",
        "CREATE TABLE public.mine (n bigint)",
        "SELECT * FROM selligent.tracks",
        "SELECT * FROM headrace.offsets",
    ],
)
def test_the_role_does_nothing_else(statement: str, scene: Scene) -> None:
    with pytest.raises(adbc_driver_manager.Error, match=REFUSED):
        scene.read(statement)
    if not statement.startswith("SELECT"):
        with pytest.raises(adbc_driver_manager.Error, match=DENIED):
            scene.read("SET default_transaction_read_only = off", statement)


def test_without_the_statements_a_role_reads_nothing(scene: Scene) -> None:
    """The control of the first test."""
    name = f"stranger_{scene.database}"
    scene.server.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    try:
        with pytest.raises(adbc_driver_manager.Error, match="permission denied"):
            scene._replace(role=name).read("SELECT count(*) FROM email.campaigns")
    finally:
        scene.server.sql(f"DROP ROLE {name}")


def test_the_queries_of_the_pages_run(scene: Scene) -> None:
    assert len(QUERIES) >= 5
    for query in QUERIES:
        assert scene.read(MACRO.sub(PERIOD, query)), query


def test_every_block_is_a_query_or_the_roles_statements() -> None:
    found = [block for file in sorted(DOCS.glob("*.md")) for block in blocks(file)]
    assert len(found) == len(QUERIES) + 1
