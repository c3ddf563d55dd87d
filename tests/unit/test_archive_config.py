"""The archive's settings."""

from __future__ import annotations

import pytest

from headrace import config
from headrace.errors import ConfigError


def test_nothing_is_archived_unless_somebody_decided_so() -> None:
    assert not config.load(None, {}).archive.enabled


def test_keys_may_stay_out_of_files() -> None:
    environment = {
        "HEADRACE_ARCHIVE_ENABLED": "true",
        "HEADRACE_ARCHIVE_PATH": "s3://bucket/prefix",
        "HEADRACE_ARCHIVE_ACCESS_KEY": "id",
        "HEADRACE_ARCHIVE_SECRET_KEY": "secret",
    }
    archive = config.load(None, environment).archive
    assert (True, "s3://bucket/prefix", "id", "secret") == (
        archive.enabled, archive.path, archive.access_key, archive.secret_key
    )  # fmt: skip


@pytest.mark.parametrize("key", ["interval_seconds", "range_bytes"])
def test_an_archive_of_nothing_at_once_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        config.load(None, {}, {"archive": {key: 0}})
