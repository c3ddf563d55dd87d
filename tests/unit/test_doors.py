"""The doors while the workspace changes under them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headrace.collector.doors import Doors
from headrace.errors import RequestError
from headrace.sources import base
from headrace.sources.base import SourceKind
from headrace.workspace.workspace import Workspace


def test_a_source_that_is_just_being_added_is_unknown_or_open_but_never_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    configured = base.configured

    def slowly(kind: str, slug: str, settings: dict[str, object]) -> SourceKind:
        reached.set()
        assert go_on.wait(10)
        return configured(kind, slug, settings)

    with Workspace.open(tmp_path, create=True) as workspace:
        opened = Doors(workspace)
        _, key = workspace.add_source("http-api", "Shop")
        monkeypatch.setattr(base, "configured", slowly)
        renewing = threading.Thread(target=opened.renew)
        renewing.start()
        assert reached.wait(10)
        with pytest.raises(RequestError) as refused:
            opened.open(key)
        go_on.set()
        renewing.join()
        assert "invalid_write_key" == refused.value.code
        assert "shop" == opened.open(key).slug
