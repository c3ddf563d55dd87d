"""What a report is built for: an engine, the tables that the warehouse has, and what the workspace chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from headrace.reports.model.engine import Engine
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Columns, TableName


class MailSource(NamedTuple):
    """A source of the workspace. `is_email`: names such as Link Clicked mean e-mail there."""

    slug: str
    schema: str
    is_email: bool


class Place(NamedTuple):
    engine: Engine
    tables: Mapping[TableName, Columns]
    sources: tuple[MailSource, ...]
    settings: ModelSettings
