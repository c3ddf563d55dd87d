"""Label rules tried on the campaigns that there are: who gets which, who gets none, and which patterns fit nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from headrace.errors import ConfigError, QueryError
from headrace.reports.model.checking import check
from headrace.reports.model.labels import CAMPAIGNS, Labelling, first_of_each_set
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.warehouses.base import QueryResult

Ask = Callable[[str, str | None], QueryResult]
"""The rows of a SELECT of a warehouse (a slug, None for the one that is meant)."""


class Labelled(msgspec.Struct, frozen=True):
    """`labels` by set."""

    campaign_id: str
    campaign_name: str | None
    labels: Mapping[str, str]


class Tried(msgspec.Struct, frozen=True):
    """`fits` is how many campaigns the pattern fits, `taken` to how many of them it gives its label: an earlier one may have them."""

    rule: LabelRule
    fits: int
    taken: int


class LabelTrial(msgspec.Struct, frozen=True):
    """`unlabelled`: the ids without a label, by set. `is_complete`: no campaign was left out for want of room."""

    campaigns: Sequence[Labelled]
    rules: Sequence[Tried]
    unlabelled: Mapping[str, Sequence[str]]
    is_complete: bool = True


def trial(
    rules: Sequence[LabelRule], campaigns: Iterable[tuple[str, str | None]], *, is_complete: bool = True
) -> LabelTrial:
    """`campaigns`: id and name; they are told in the order of their ids."""
    labelling = Labelling(rules)
    fits: Counter[LabelRule] = Counter()
    taken: Counter[LabelRule] = Counter()
    labelled = []
    for id_, name in sorted(campaigns, key=lambda campaign: campaign[0]):
        fitting = labelling.fitting(id_, name)
        fits.update(fitting)
        taken.update({rule.set: rule for rule in reversed(fitting)}.values())
        labelled.append(Labelled(id_, name, first_of_each_set(fitting)))
    sets = dict.fromkeys(rule.set for rule in rules)
    return LabelTrial(
        labelled,
        [Tried(rule, fits[rule], taken[rule]) for rule in rules],
        {set_: [one.campaign_id for one in labelled if set_ not in one.labels] for set_ in sets},
        is_complete,
    )


def tried_labels(rules: Sequence[LabelRule], ask: Ask, warehouse: str | None) -> LabelTrial:
    """On the campaigns that the model of a warehouse knows. Raises ConfigError."""
    check(ModelSettings(labels=rules), ())
    try:
        found = ask(CAMPAIGNS, warehouse)
    except QueryError as error:
        raise ConfigError(
            f"email labels: the campaigns cannot be read ({error}); the warehouse knows them once e-mail events were loaded"
        ) from None
    return trial(rules, [(str(id_), name) for id_, name in found.rows], is_complete=not found.truncated)
