"""The collector's counts in Prometheus' text form. Plain integers on the hot path, a registry only when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


COUNTERS: Final = {
    "headrace_log_commits": "Group commits that are durable.",
    "headrace_log_committed_bytes": "Uncompressed bytes of events in them.",
}
GAUGES: Final = {
    "headrace_waiting_bytes": "Bytes of events in memory that are not durable yet; their requests wait.",
    "headrace_log_available": "1 while the log stores, 0 after it failed and until it works again.",
}


class Metrics(Collector):
    """Since this process began. `events` counts by (source, result), `requests` by (route, status), `refusals` by
    (source, code), `unknown` the requests with no usable write key by code."""

    def __init__(self, gauges: Callable[[], dict[str, float]]) -> None:
        """`gauges` gives the values of COUNTERS and GAUGES."""
        self.events: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[str] = Counter()
        self._gauges = gauges
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield _counter("headrace_events", "Events by source and result.", ("source", "result"), self.events.items())
        requests = [((route, str(status)), count) for (route, status), count in list(self.requests.items())]
        yield _counter("headrace_requests", "Requests by route and status.", ("route", "status"), requests)
        yield _counter(
            "headrace_refusals", "Refused events by source and code.", ("source", "code"), self.refusals.items()
        )
        yield _counter(
            "headrace_unattributed_requests",
            "Requests without a usable write key, by code.",
            ("code",),
            (((code,), count) for code, count in self.unknown.items()),
        )
        gauges = self._gauges()
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(name, text, value=gauges[name])
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(name, text, value=gauges[name])

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _counter(
    name: str, text: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in list(counts):
        family.add_metric(values, count)
    return family
