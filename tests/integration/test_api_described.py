"""The API keeps to its own description: whatever is sent, no answer is a 5xx, and each is as the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from litestar import Litestar
from litestar.testing import TestClient
from schemathesis.checks import CHECKS as EVERY_CHECK
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

import email_tables
from depth import depth
from headrace.app.working import Worker
from headrace.config import Config, WarehouseConfig
from headrace.console.access import INSIDER
from headrace.console.api import PREFIX, api
from headrace.console.describing import description
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.workspace import Workspace

load_all_checks()
CHECKS: Final[list[Any]] = EVERY_CHECK.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
ENDLESS: Final = {f"{PREFIX}/debugger/stream", f"{PREFIX}/home/stream"}
"""Streams have tests of their own."""
STARTS: Final = {("POST", f"{PREFIX}/demo")}
"""Would send to a collector that is not there; tests/integration/test_demo_served.py asks it."""

QUICKLY: Final = settings(
    max_examples=depth(4, 60),
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Litestar]:
    """A workspace with one of everything and the tables of the e-mail model."""
    folder = tmp_path_factory.mktemp("described")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
        workspace.add_source("http-api", "Shop")
        workspace.add_destination("webhook", "Hook", ["shop"], {"url": "https://example.com/hook"})
        workspace.saved().add("query", "One", "", {"sql": "select 1", "warehouse": None, "chart": None}, "Ada")
        workspace.people().add_first("ada@example.com", "Ada", "correct horse battery")
    warehouse: Any = DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    email_tables.create(warehouse)
    warehouse.close()
    config = Config(data=str(folder))
    worker = Worker(config)
    try:
        worker.notice()
        made = api(worker, config.warehouse, lambda _: INSIDER)
        with TestClient(made):
            yield made
    finally:
        worker.end()
        worker.close()


@pytest.fixture(scope="module")
def schema(app: Litestar) -> Any:
    return schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", app)


OPERATIONS: Final = [
    (method.upper(), path)
    for path, operations in description()["paths"].items()
    for method in operations
    if path not in ENDLESS and (method.upper(), path) not in STARTS
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_asked_is_answered_as_described(schema: Any, method: str, path: str) -> None:
    operation = schema[path][method]

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        def look(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        with suppress(Unsatisfiable):  # of a path without parameters nothing is wrong
            decorated: Any = given(operation.as_strategy(mode))
            QUICKLY(decorated(look))()


def test_an_answer_that_is_not_as_described_is_found(schema: Any, app: Litestar) -> None:
    """The control: the same checks over an operation whose description says something else."""
    raw = schema.raw_schema["paths"][f"{PREFIX}/status"]["get"]["responses"]["200"]["content"]["application/json"]
    other = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", app)
    content = other.raw_schema["paths"][f"{PREFIX}/status"]["get"]["responses"]["200"]["content"]
    content["application/json"] = {"schema": {"type": "array"}}
    with pytest.raises(FailureGroup):
        other[f"{PREFIX}/status"]["GET"].Case().call_and_validate(checks=CHECKS)
    assert raw != content["application/json"]
