"""The steps of time on a chart's axis: the page's own code, run by Node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clients.browser import NODE

LINES = Path(__file__).parent.parent.parent / "web" / "src" / "pages" / "reports" / "lines.ts"


@pytest.fixture(scope="module")
def code(need_sdks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a module of Node."""
    made = tmp_path_factory.mktemp("lines") / "lines.cjs"
    esbuild = need_sdks / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--format=cjs", "--platform=node", "--log-level=warning", f"--outfile={made}")
    subprocess.run([NODE, esbuild, LINES, *options], check=True, timeout=60)
    return made


def steps(code: Path, *given: object) -> list[str]:
    program = f"process.stdout.write(JSON.stringify(require({json.dumps(str(code))}).steps(...{json.dumps(given)})))"
    found = subprocess.run([NODE, "-e", program], check=True, capture_output=True, timeout=60)
    return list(json.loads(found.stdout))


@pytest.mark.parametrize("minutes", ["00", "30", "45"])
def test_hours_of_any_zone_stand_where_their_figures_are(code: Path, minutes: str) -> None:
    def at(hour: int) -> str:
        return f"2026-10-05T{hour:02}:{minutes}:00.000Z"

    known = [at(3), at(5)]
    assert [at(3), at(4), at(5)] == steps(code, "sent_hour", None, None, "Asia/Kolkata", known)
    since, until = "2026-10-05T02:50:00Z", "2026-10-05T06:10:00Z"
    found = steps(code, "sent_hour", since, until, "Asia/Kolkata", known)
    assert found[0] == at(2)
    assert set(known) <= set(found)
    assert found[-1] <= until


def test_days_stand_in_the_zone(code: Path) -> None:
    since, until = "2026-10-04T18:30:00Z", "2026-10-06T18:30:00Z"
    assert ["2026-10-05", "2026-10-06"] == steps(code, "sent_day", since, until, "Asia/Kolkata", ["2026-10-05"])
