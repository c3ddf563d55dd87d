"""What of a request does not fit, all of it at once: for reports that were saved when there was more, or less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from headrace.errors import ConfigError
from headrace.reports.datasets import DATASETS
from headrace.reports.measures import MEASURES
from headrace.reports.place import Place
from headrace.reports.planning import dimension_in, filled, measure_in, planned
from headrace.reports.request import ReportRequest, settled


def misfits(request: ReportRequest, place: Place) -> list[str]:
    """A sentence each, none when it can be asked. Fields that are unknown are told one by one."""
    try:
        whole = settled(filled(request), datetime.now(UTC))
    except ConfigError as error:
        return [str(error)]
    dataset = DATASETS[whole.dataset or ""]
    filters = [condition.field for condition in whole.filters]
    wrong = _refused(lambda name: dimension_in(name, dataset, place), whole.dimensions or ())
    wrong += _refused(lambda name: measure_in(name, dataset), whole.measures or ())
    wrong += _refused(
        lambda name: measure_in(name, dataset) if name in MEASURES else dimension_in(name, dataset, place), filters
    )
    return list(dict.fromkeys(wrong)) or _refused(lambda _: planned(whole, place), ("",))


def _refused(attempt: Callable[[str], object], names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        try:
            attempt(name)
        except ConfigError as error:
            found.append(str(error))
    return found
