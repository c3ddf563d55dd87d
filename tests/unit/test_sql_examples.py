"""The examples of the SQL page are recipes: what stands there is what the recipes' own tests run on both engines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_example_stands_in_the_recipes_under_its_title() -> None:
    recipes = re.findall(r"### (.+?)\n.*?```sql\n(.*?)\n```", (ROOT / "docs/recipes.md").read_text(), re.DOTALL)
    text = (ROOT / "web/src/pages/sql/examples.ts").read_text()
    found = re.findall(r"title: (?:'(.+?)'|\"(.+?)\"),\n    sql: `(.*?)`,\n", text, re.DOTALL)
    examples = {(one or other): sql.replace("\\\\", "\\") for one, other, sql in found}
    assert len(examples) > 10
    assert {} == {title: sql for title, sql in examples.items() if (title, sql) not in recipes}
