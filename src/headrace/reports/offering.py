"""Which fields go with what a report already asks, and which values a field has: for pages where reports are put together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from headrace.errors import ConfigError
from headrace.reports.conditions import Condition
from headrace.reports.datasets import DATASETS, Dataset
from headrace.reports.dimensions import LABEL, Dimension, dimension
from headrace.reports.fitting import misfits
from headrace.reports.measures import MEASURES
from headrace.reports.place import Place
from headrace.reports.planning import dimension_in, fields_of, filled, measure_in, measures_of, planned
from headrace.reports.presets import PRESETS
from headrace.reports.request import ReportRequest, settled

Kind = Literal["dimension", "measure"]


class Offer(msgspec.Struct, frozen=True):
    """Whether the field goes with the request. `dataset`: where the report must be counted for that, empty where it goes with nothing; `reason`: why it does
    not, or what it would change; empty where it just goes."""

    name: str
    kind: Kind
    dataset: str
    reason: str


class Offers(msgspec.Struct, frozen=True):
    """`dataset`: where the request is counted, or could be. `misfits`: what of it does not go, a sentence each."""

    dataset: str
    offers: Sequence[Offer]
    misfits: Sequence[str]


class ValuesOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The values of a field within a request's dataset, period, source and other filters. `search`: part of the value, whatever its case."""

    field: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    request: ReportRequest = ReportRequest()
    search: Annotated[str, msgspec.Meta(max_length=200)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50


class Value(msgspec.Struct, frozen=True):
    """`figure`: how often, by the measure of the answer."""

    value: Any
    figure: float | None


class Values(msgspec.Struct, frozen=True):
    """The most frequent first. `are_all`: there are no others."""

    field: str
    measure: str
    title: str
    values: Sequence[Value]
    are_all: bool


def offers(request: ReportRequest, place: Place) -> Offers:
    """Of every field and measure. Raises NotFoundError for a dataset or preset that is none."""
    whole = settled(filled(request), datetime.now(UTC))
    if request.dataset is None and request.preset is None and request.measures is None:
        whole = msgspec.structs.replace(whole, measures=())
    asked = _Asked(whole, place)
    found = [asked.offered(name, "dimension") for name in _fields(place)]
    found += [asked.offered(name, "measure") for name in MEASURES]
    is_begun = bool(whole.dimensions or whole.measures or whole.filters)
    wrong = misfits(whole, place) if whole.measures else []
    return Offers(whole.dataset or "", found, wrong if is_begun else [])


def _fields(place: Place) -> list[str]:
    labels = sorted({f"{LABEL}{rule.set}" for rule in place.settings.labels})
    names = [of.name for of in fields_of(DATASETS["messages"])]
    others = [of.name for dataset in DATASETS.values() for of in fields_of(dataset)]
    return list(dict.fromkeys([*names, *others, *labels]))


class _Asked:
    def __init__(self, request: ReportRequest, place: Place) -> None:
        self._request, self._place = request, place
        self._here = DATASETS[request.dataset or ""]

    def offered(self, name: str, kind: Kind) -> Offer:
        if self._goes(name, kind, self._here):
            return Offer(name, kind, self._here.name, "")
        having = [of for of in DATASETS.values() if _has(name, kind, of)]
        for other in having:
            if other is not self._here and self._goes(name, kind, other):
                return Offer(name, kind, other.name, f"Counts something else then: {other.sentence}")
        return Offer(name, kind, "", self._reason(having))

    def _goes(self, name: str, kind: Kind, dataset: Dataset) -> bool:
        if not _has(name, kind, dataset) or not all(self._knows(field, dataset) for field in self._fields()):
            return False
        dimensions, measures = list(self._request.dimensions or ()), list(self._request.measures or ())
        found = dimension(name) if kind == "dimension" else None
        if kind == "measure":
            measures.append(name)
        elif found is not None and not found.only_filters:
            dimensions.append(name)
        if not measures:
            measures = [measures_of(dataset)[0].name]
        request = msgspec.structs.replace(
            self._request, dataset=dataset.name, dimensions=dimensions, measures=measures, sort=()
        )
        try:
            planned(request, self._place)
        except ConfigError:
            return False
        return True

    def _fields(self) -> list[str]:
        asked = self._request
        return [*(asked.dimensions or ()), *(asked.measures or ()), *(condition.field for condition in asked.filters)]

    def _knows(self, name: str, dataset: Dataset) -> bool:
        try:
            if name in MEASURES:
                measure_in(name, dataset)
            else:
                dimension_in(name, dataset, self._place)
        except ConfigError:
            return False
        return True

    def _reason(self, having: Sequence[Dataset]) -> str:
        """Which of what is chosen stands in its way."""
        nearest = max(having, key=lambda of: sum(self._knows(field, of) for field in self._fields()), default=None)
        if nearest is None:
            return "It is known nowhere any more."
        against = [_title(field) for field in self._fields() if not self._knows(field, nearest)]
        where = _words([of.sentence.split(",")[0].rstrip(".") for of in having[:3]])
        if not against:
            return f"It does not go with all that is chosen; take one of the fields out first. It belongs to: {where}."
        return f"It does not go with {_words(against[:4])}. It belongs to: {where}."


def _has(name: str, kind: Kind, dataset: Dataset) -> bool:
    if kind == "measure":
        return any(of.name == name for of in measures_of(dataset))
    known = {of.name for of in fields_of(dataset)}
    return "campaign_id" in known if name.startswith(LABEL) else name in known


def _title(name: str) -> str:
    if name in MEASURES:
        return MEASURES[name].title
    found = dimension(name)
    return name if found is None else found.title


def _words(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def values_request(order: ValuesOrder, place: Place) -> tuple[ReportRequest, Dimension]:
    """The report that tells them. Raises ConfigError for a field whose values nobody could choose from."""
    whole = filled(order.request)
    dataset = DATASETS[whole.dataset or ""]
    found = dimension_in(order.field, dataset, place)
    if found.is_time:
        raise ConfigError(
            f"values: {found.name} is a time, which nobody chooses from a list; give the period with since and until"
        )
    like = next((preset for preset in PRESETS.values() if preset.dataset == dataset.name), None)
    measure = like.measures[0] if like is not None else measures_of(dataset)[0].name
    filters = [condition for condition in whole.filters if condition.field not in (order.field, *MEASURES)]
    if order.search and found.type == "text":
        filters.append(Condition(order.field, "contains", order.search))
    return (
        msgspec.structs.replace(
            whole,
            dimensions=(order.field,),
            measures=(measure,),
            filters=filters,
            sort=(f"-{measure}",) if found.type == "text" else (order.field,),
            limit=order.limit + 1,
        ),
        found,
    )


def values(order: ValuesOrder, found: Dimension, measure: str, rows: Sequence[Sequence[Any]]) -> Values:
    shown = [Value(value, figure) for value, figure in rows[: order.limit]]
    if order.search and found.type != "text":
        shown = [one for one in shown if order.search.casefold() in str(one.value).casefold()]
    return Values(order.field, measure, MEASURES[measure].title, shown, len(rows) <= order.limit)
