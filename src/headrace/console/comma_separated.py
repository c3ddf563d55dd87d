"""Rows of cells as CSV (RFC 4180): lines end with CR LF, NULL is nothing, an empty text is two quotes, so that every answer can be read back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from headrace.warehouses.base import CellKind

_QUOTED: Final = re.compile(r'[",\r\n]|^$|^[ \t]|[ \t]$')
_FORMULA: Final = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for the beginning of a formula, in full width too. https://owasp.org/www-community/attacks/CSV_Injection"""
_TEXTS: Final = frozenset(("text", "nested", "bytes"))
"""Numbers, times and the like are the engine's words: a minus is theirs."""
BYTE_ORDER_MARK: Final = "\ufeff"
"""Without it some spreadsheets take UTF-8 for another code."""


def header(names: Sequence[str], *, spreadsheet: bool = False) -> str:
    return (BYTE_ORDER_MARK if spreadsheet else "") + _line(_safe(name) if spreadsheet else name for name in names)


def lines(rows: Iterable[Sequence[Any]], kinds: Sequence[CellKind], *, spreadsheet: bool = False) -> str:
    r"""`spreadsheet`: an apostrophe stands before texts that would be taken for formulas.

    >>> lines([[1, None, ""], [True, "=1+1", 'a"b']], ["integer", "text", "text"], spreadsheet=True)
    '1,,""\r\ntrue,\'=1+1,"a""b"\r\n'
    """
    if not spreadsheet:
        return "".join(_line(map(_text, row)) for row in rows)
    texts = [kind in _TEXTS for kind in kinds]
    return "".join(
        _line(_safe(_text(cell)) if is_text else _text(cell) for cell, is_text in zip(row, texts, strict=True))
        for row in rows
    )


def _line(texts: Iterable[str | None]) -> str:
    return ",".join("" if text is None else _quoted(text) for text in texts) + "\r\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _text(cell: Any) -> str | None:
    match cell:
        case None | str():
            return cell
        case bool():
            return "true" if cell else "false"
        case float():
            return repr(cell)
        case _:
            return str(cell)


def _safe(text: str | None) -> str | None:
    return f"'{text}" if text is not None and _FORMULA.match(text) else text
