"""The conditions there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.alerts.base import Condition
from headrace.alerts.delivery_rate import DeliveryRate
from headrace.alerts.rejected_events import RejectedEvents
from headrace.alerts.source_volume import SourceVolume
from headrace.alerts.warehouse_late import WarehouseLate
from headrace.errors import NotFoundError

CONDITIONS: Final[Mapping[str, type[Condition]]] = {
    condition.slug: condition for condition in (DeliveryRate, SourceVolume, WarehouseLate, RejectedEvents)
}


def condition(slug: str) -> type[Condition]:
    """Raises NotFoundError that lists what there is."""
    found = CONDITIONS.get(slug)
    if found is None:
        raise NotFoundError(f"alert: there is no condition {slug[:60]!r}; there is {', '.join(CONDITIONS)}")
    return found


def configured(slug: str, settings: Mapping[str, Any]) -> Condition:
    """Raises NotFoundError, and msgspec.ValidationError for settings that the condition does not take."""
    chosen = condition(slug)
    return chosen(msgspec.convert(dict(settings), chosen.Settings))
