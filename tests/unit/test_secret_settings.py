"""Masks over any password: what is shown of an address is one of two texts, whatever the password looks like."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.workspace.secret_settings import MASK, masked, without_secrets

PASSWORDS = st.text(st.characters(codec="utf-8"), max_size=30)
LONG_PASSWORDS = st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=4, max_size=30)
SHOWN = "postgresql://ada:***@db.example:5432/events"
SHOWN_WORDS = "host=db.example user=ada password=*** dbname=events"


@given(PASSWORDS)
@example("p@ss")
@example("p/ss")
@example("12/34@x")
@example("12?34")
@example("12#34")
@example("[::1")
@example("a\nb")
@example("a b@c/d")
@example("\u2100")
def test_of_a_url_with_any_raw_password_nothing_of_it_is_shown(password: str) -> None:
    assert masked("dsn", f"postgresql://ada:{password}@db.example:5432/events") in {SHOWN, MASK}


@given(PASSWORDS)
def test_of_a_url_with_an_escaped_password_all_else_is_shown(password: str) -> None:
    assert SHOWN == masked("dsn", f"postgresql://ada:{quote(password, safe='')}@db.example:5432/events")


@given(PASSWORDS)
def test_of_a_parameter_nothing_is_shown(password: str) -> None:
    shown = masked("dsn", f"postgresql://db.example/events?user=ada&password={quote(password, safe='')}")
    assert "postgresql://db.example/events?user=ada&password=***" == shown


@given(PASSWORDS)
def test_of_a_quoted_password_among_words_nothing_is_shown(password: str) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    text = f"host=db.example user=ada password='{escaped}' dbname=events"
    assert SHOWN_WORDS == masked("dsn", text)


@given(st.text(max_size=60))
def test_any_text_at_all_can_be_masked_and_searched_for(text: str) -> None:
    for name in ("dsn", "token", "catalog_uri"):
        masked(name, text)
        assert "all is well" == without_secrets("all is well", {name: text if len(text) > 11 else ""})


@given(LONG_PASSWORDS)
def test_a_password_is_masked_in_any_text_as_it_is_and_as_it_was_written(password: str) -> None:
    escaped = quote(password, safe="")
    settings = {"dsn": f"postgresql://ada:{escaped}@db.example:5432/events"}
    assert "<***|***>" == without_secrets(f"<{password}|{escaped}>", settings)


def test_opening_a_workspace_loads_nothing_heavy() -> None:
    """The collector opens it, and needs neither encryption nor a warehouse's driver."""
    code = (
        "import sys; from pathlib import Path; from headrace.workspace.workspace import Workspace\n"
        "Workspace.open(Path(sys.argv[1])).snapshot()\n"
        "print(sorted({'cryptography', 'pyarrow', 'duckdb', 'httpx', 'rich'} & sys.modules.keys()))"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert "[]\n" == ended.stdout
