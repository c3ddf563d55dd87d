"""A dbt project without dbt: its models and tests as SQL, by a renderer of as much of dbt as the package uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
import yaml

from headrace.warehouses.base import Derivation, Deriving, Warehouse

PACKAGE: Final = Path(__file__).parents[1] / "deploy/dbt/headrace_email"
Yaml = Any


class Check(NamedTuple):
    """A data test: the rows that it finds are wrong."""

    name: str
    sql: str


class Project:
    """`schema` is where the sources are, `target` where the models are built."""

    def __init__(self, folder: Path = PACKAGE, schema: str = "email", target: str = "analytics") -> None:
        self.folder, self.schema, self.target = folder, schema, target
        self.settings: Mapping[str, Any] = yaml.safe_load((folder / "dbt_project.yml").read_text())
        self.name = self.settings["name"]
        self.sources = self._yaml("models/sources.yml")["sources"][0]
        self.described = {model["name"]: model for model in self._yaml("models/models.yml")["models"]}
        self.files = {file.stem: file for file in sorted((folder / "models").rglob("*.sql"))}
        self._variables = {**self.settings["vars"]}
        self._generic = self._generic_tests()

    def _yaml(self, path: str) -> Yaml:
        return yaml.safe_load((self.folder / path).read_text())

    def _source(self, name: str, table: str) -> str:
        tables = {found["name"] for found in self.sources["tables"]}
        if name != self.sources["name"] or table not in tables:
            raise KeyError(f"there is no source {name}.{table}")
        return f"{self.schema}.{table}"

    def _ref(self, model: str) -> str:
        if model not in self.files:
            raise KeyError(f"there is no model {model}")
        return f"{self.target}.{model}"

    def _var(self, name: str, default: Any = None) -> Any:
        return self._variables.get(name, default)

    def _words(self) -> dict[str, Any]:
        return {"source": self._source, "ref": self._ref, "var": self._var}

    def rendered(self, text: str, **more: Any) -> str:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        return environment.from_string(text).render(**self._words(), **more)

    def _generic_tests(self) -> dict[str, tuple[list[str], str]]:
        """`name: (arguments, body)`."""
        found = {}
        for file in sorted((self.folder / "tests/generic").glob("*.sql")):
            match = re.fullmatch(r"\s*{% test (\w+)\(([^)]*)\) %}(.*){% endtest %}\s*", file.read_text(), re.DOTALL)
            assert match, file
            found[f"{self.name}.{match[1]}"] = ([part.strip() for part in match[2].split(",")], match[3])
        return found

    def models(self) -> Iterator[tuple[str, str]]:
        """Name and SELECT, each after those that it refers to."""
        left = {name: file.read_text() for name, file in self.files.items()}
        while left:
            ready = [name for name, text in left.items() if not set(re.findall(r"ref\('(\w+)'\)", text)) & left.keys()]
            assert ready, f"models refer to each other: {sorted(left)}"
            for name in ready:
                yield name, self.rendered(left.pop(name))

    def checks(self) -> Iterator[Check]:
        for file in sorted((self.folder / "tests").glob("*.sql")):
            yield Check(file.stem, self.rendered(file.read_text()))
        for table in self.sources["tables"]:
            yield from self._checks_of(f"{self.schema}.{table['name']}", table)
        for name, model in self.described.items():
            yield from self._checks_of(self._ref(name), model)

    def _checks_of(self, relation: str, described: Yaml) -> Iterator[Check]:
        for test in described.get("data_tests", ()):
            yield self._check(relation, None, test)
        for column in described["columns"]:
            for test in column.get("data_tests", ()):
                yield self._check(relation, column["name"], test)

    def _check(self, relation: str, column: str | None, test: Yaml) -> Check:
        name, said = (test, {}) if isinstance(test, str) else next(iter(test.items()))
        arguments = said.get("arguments", {})
        where = said.get("config", {}).get("where")
        rows = f"(SELECT * FROM {relation} WHERE {where}) AS chosen" if where else relation
        return Check(f"{relation} {column or ''} {name}", self._sql(name, rows, column, arguments))

    def _sql(self, name: str, rows: str, column: str | None, arguments: Mapping[str, Any]) -> str:
        """dbt's own four tests as its documentation describes them, and the package's."""
        match name:
            case "not_null":
                return f"SELECT {column} FROM {rows} WHERE {column} IS NULL"
            case "unique":
                return f"SELECT {column} FROM {rows} WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) > 1"
            case "accepted_values":
                values = ", ".join(f"'{value}'" for value in arguments["values"])
                return f"SELECT {column} FROM {rows} WHERE {column} NOT IN ({values})"
            case "relationships":
                parent = self.rendered("{{ " + arguments["to"] + " }}")
                return (
                    f"SELECT child.key FROM (SELECT {column} AS key FROM {rows} WHERE {column} IS NOT NULL) AS child"
                    f" LEFT JOIN {parent} AS parent ON parent.{arguments['field']} = child.key"
                    f" WHERE parent.{arguments['field']} IS NULL"
                )
        expected, body = self._generic[name]
        assert set(arguments) | {"model", "column_name"} >= {part.split("=")[0] for part in expected if "=" not in part}
        defaults = {part.split("=")[0]: None for part in expected if "=" in part}
        return self.rendered(body, **{"model": rows, "column_name": column, **defaults, **arguments})


def built(project: Project, warehouse: Warehouse) -> None:
    """Its models as tables of the schema `target`, as dbt would make them."""

    def work(derivation: Derivation) -> None:
        derivation.run([f"CREATE SCHEMA {project.target}"])
        for name, select in project.models():
            derivation.run([f"CREATE TABLE {project.target}.{name} AS {select}"])

    assert isinstance(warehouse, Deriving)
    warehouse.derive(work)


def wrong(warehouse: Warehouse, check: Check) -> int:
    """How many rows the check finds."""
    return len(warehouse.query(check.sql, max_rows=10_000, timeout_seconds=60).rows)
