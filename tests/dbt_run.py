"""dbt itself runs the package on DuckDB and PostgreSQL: `python tests/dbt_run.py`. Not a test, since dbt is installed for it, in .venv-dbt.

The profiles are those of the package's README; PostgreSQL is read by the role of docs/bi/README.md. Ends with 1 when dbt does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import yaml

import mailed
from dbt_project import PACKAGE
from headrace.config import WarehouseConfig
from headrace.simulator.realism import FULL
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Warehouse
from postgresql_server import kind, shared

ROOT: Final = Path(__file__).parents[1]
PLACE: Final = ROOT / ".venv-dbt"
# dbt-core 1.12 and later fetch a compiled parser from outside of the package index while they are installed.
WANTED: Final = ("dbt-core>=1.11,<1.12", "dbt-duckdb>=1.11,<1.12", "dbt-postgres>=1.11,<1.12")
RECIPIENTS: Final = 300
WEEKS: Final = 3
SECONDS: Final = 300.0


def installed() -> Path:
    """dbt's own environment, made once."""
    dbt = PLACE / "bin/dbt"
    if not dbt.exists():
        venv.create(PLACE, with_pip=True)
        command: list[str | Path] = [
            PLACE / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*command, *WANTED, f"duckdb=={duckdb.__version__}"], check=True, timeout=SECONDS)
    return dbt


def profile(target: str) -> dict[str, Any]:
    """An output of the README's profiles.yml."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for block in map(yaml.safe_load, blocks):
        outputs = block.get("headrace_email", {}).get("outputs", {})
        if target in outputs:
            return dict(outputs[target])
    raise KeyError(target)


def fill(warehouse: Warehouse, end: datetime) -> None:
    mailed.loaded(warehouse, list(mailed.entries(RECIPIENTS, WEEKS, FULL, end=end)))
    mailed.modelled(warehouse)
    warehouse.close()


def on_duckdb(folder: Path, end: datetime) -> dict[str, Any]:
    snapshot = folder / "events.duckdb"
    fill(DuckDB(snapshot, WarehouseConfig()), end)
    output = profile("duckdb")
    output["path"] = str(folder / "analytics.duckdb")
    output["attach"][0]["path"] = str(snapshot)
    return output


def on_postgresql(end: datetime) -> dict[str, Any]:
    server = shared()
    database, password = server.database(), "another long random password"
    fill(kind(server.dsn(database)).open(), end)
    (block,) = re.findall(r"^```sql\n(.*?)^```$", (ROOT / "docs/bi/README.md").read_text(), re.MULTILINE | re.DOTALL)
    # dbt writes, so the settings that keep a BI tool from it are left out.
    statements = [line for line in block.split(";\n") if line and "ALTER ROLE" not in line]
    role = [statement.replace("DATABASE warehouse", f"DATABASE {database}") for statement in statements]
    server.sql(*role, f"GRANT CREATE, TEMPORARY ON DATABASE {database} TO bi", database=database)
    return profile("postgresql") | {"port": server.port, "dbname": database, "user": "bi", "password": password}


def run(dbt: Path, folder: Path, output: Mapping[str, Any], variables: Sequence[str]) -> bool:
    profiles = {"headrace_email": {"target": "tried", "outputs": {"tried": dict(output)}}}
    (folder / "profiles.yml").write_text(yaml.safe_dump(profiles))
    places: list[str | Path] = [
        "--project-dir",
        PACKAGE,
        "--profiles-dir",
        folder,
        "--target-path",
        folder,
        "--log-path",
        folder,
    ]
    environment = os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "NO_COLOR": "1"}
    done = [
        subprocess.run([dbt, *command, *places, *variables], check=False, timeout=SECONDS, env=environment).returncode
        for command in (["build"], ["source", "freshness"])
    ]
    return not any(done)


def main() -> int:
    dbt, end = installed(), datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="headrace-dbt-") as name:
        duck, postgres = (Path(name) / engine for engine in ("duckdb", "postgresql"))
        for folder in (duck, postgres):
            folder.mkdir()
        fine = run(dbt, duck, on_duckdb(duck, end), ["--vars", "{headrace_database: headrace}"])
        return 0 if run(dbt, postgres, on_postgresql(end), []) and fine else 1


if __name__ == "__main__":
    sys.exit(main())
