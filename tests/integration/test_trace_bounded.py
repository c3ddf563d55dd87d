"""Looking for an id that nobody knows reads the log: one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console_worker import asked
from headrace.app import tracing
from headrace.workspace.workspace import Workspace


def test_one_id_at_a_time_is_looked_for_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace.open(tmp_path):
        pass
    monkeypatch.setattr(tracing, "SCAN_WAIT_SECONDS", 0.01)
    meanwhile: list[Any] = []
    with asked(tmp_path) as client:

        def scan(*_: Any) -> list[Any]:
            meanwhile.append(client.get("/events/other"))
            return []

        monkeypatch.setattr(tracing.Tracer, "_scan", scan)
        first = client.get("/events/unknown")
        assert (200, [429]) == (first.status_code, [answer.status_code for answer in meanwhile])
        assert "too_many_scans" == meanwhile[0].json()["code"]
        monkeypatch.setattr(tracing.Tracer, "_scan", lambda *_: [])
        assert 200 == client.get("/events/other").status_code  # the control: its turn is over
