"""The state of warehouses and destinations in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.console.books import COUNTS
from headrace.console.status import Status, WarehouseStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

OUTCOMES: Final = ("waiting", "filtered", "retrying", "failed", "delivered")
_OF_WAREHOUSE: Final = {
    "headrace_warehouse_up": "1 while the warehouse takes loads, 0 while loading stands still or is paused.",
    "headrace_warehouse_lag_seconds": "Age of the oldest entry of the log that is not in the warehouse.",
    "headrace_warehouse_last_load_timestamp_seconds": "When the last load was committed.",
    "headrace_warehouse_last_load_seconds": "How long the last load took.",
    "headrace_warehouse_last_load_events": "Entries of the log in the last load.",
    "headrace_warehouse_discards": "Values that did not fit their columns, in headrace.discards.",
    "headrace_warehouse_held_columns": "Integer columns that the warehouse does not let become float.",
}


def metrics(status: Status) -> bytes:
    """All of it, as of `status`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(status))
    return generate_latest(registry)


class _Metrics(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        families = {name: GaugeMetricFamily(name, text, labels=("warehouse",)) for name, text in _OF_WAREHOUSE.items()}
        position = GaugeMetricFamily(
            "headrace_warehouse_position", "The loader's offset in the log.", labels=("warehouse", "partition")
        )
        lag = GaugeMetricFamily(
            "headrace_warehouse_lag_offsets",
            "Offsets of the log that are not in the warehouse, gaps included.",
            labels=("warehouse", "partition"),
        )
        events = GaugeMetricFamily(
            "headrace_warehouse_events",
            "The books: events by what became of them.",
            labels=("warehouse", "source", "result"),
        )
        for found in self._status.warehouses:
            if found.warehouse is None:
                continue
            slug = found.warehouse.slug
            for name, value in _values(found).items():
                families[name].add_metric((slug,), value)
            if not found.warehouse.known:
                continue
            for partition in found.partitions:
                labels = (slug, str(partition.partition))
                position.add_metric(labels, partition.position)
                lag.add_metric(labels, max(0, partition.next - partition.position))
            for source in found.sources:
                for count in COUNTS:
                    events.add_metric((slug, source.source, count), getattr(source, count))
        yield from (*families.values(), position, lag, events)
        yield from self._of_destinations()

    def _of_destinations(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "headrace_destination_up",
            "1 while events get through, 0 while they wait or it is paused.",
            labels=("destination",),
        )
        events = GaugeMetricFamily(
            "headrace_destination_events_24h",
            "Events received in the last 24 hours by what became of them.",
            labels=("destination", "outcome"),
        )
        p95 = GaugeMetricFamily(
            "headrace_destination_p95_seconds",
            "Below this were 95 % of the latencies from received to delivered, of the last 24 hours.",
            labels=("destination",),
        )
        for found in self._status.destinations:
            up.add_metric((found.slug,), float(found.state == "delivering"))
            for outcome in OUTCOMES:
                events.add_metric((found.slug, outcome), getattr(found, outcome))
            if found.p95_seconds is not None:
                p95.add_metric((found.slug,), found.p95_seconds)
        yield from (up, events, p95)


def _values(found: WarehouseStatus) -> dict[str, float]:
    state = found.warehouse
    if state is None:
        return {}
    up = {"headrace_warehouse_up": float(state.state == "loading" and state.error is None)}
    if not state.known:
        return up
    return {
        **up,
        "headrace_warehouse_lag_seconds": found.lag_seconds,
        "headrace_warehouse_last_load_timestamp_seconds": state.last_load_at.timestamp() if state.last_load_at else 0.0,
        "headrace_warehouse_last_load_seconds": state.last_load_seconds or 0.0,
        "headrace_warehouse_last_load_events": state.last_load_events,
        "headrace_warehouse_discards": state.discards,
        "headrace_warehouse_held_columns": len(state.held),
    }
