"""The API's questions and orders about the e-mail model: its settings, its rules, and labels that are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, get_args

import msgspec
from litestar import get, post, put
from litestar.params import Body

from headrace.reports.conditions import Operator
from headrace.reports.model.checking import converted
from headrace.reports.model.differences import PARTS, Part, differences, made_anew
from headrace.reports.model.kept import keep, kept
from headrace.reports.model.label_trial import Ask, LabelTrial, tried_labels
from headrace.reports.model.rule_fields import DESCRIBED_FIELDS
from headrace.reports.model.rules_shown import RuleShown, rules_shown
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.workspace.workspace import Workspace


class EmailSettings(msgspec.Struct, frozen=True):
    """`revision` counts their changes: a change names the one that it was made from."""

    revision: int
    settings: ModelSettings


class EmailSettingsOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings anew; those that are not named have their defaults. With `dry_run` nothing is changed."""

    revision: int
    settings: dict[str, Any]
    dry_run: bool = False


class EmailSettingsChanged(msgspec.Struct, frozen=True):
    """`differences`: a line each. `made_anew`: what is made anew, with a sentence."""

    revision: int
    settings: ModelSettings
    differences: Sequence[str]
    made_anew: dict[Part, str]


class FieldShown(msgspec.Struct, frozen=True):
    name: str
    type: str
    sentence: str


class RulesShown(msgspec.Struct, frozen=True):
    """`fields` and `operators`: what rules of one's own may be made of."""

    rules: Sequence[RuleShown]
    fields: Sequence[FieldShown]
    operators: Sequence[str]


class LabelTrialOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `labels` those of the workspace are tried, without `warehouse` on the campaigns of the one that is meant."""

    labels: Sequence[LabelRule] | None = None
    warehouse: str | None = None


class EmailModelSettings:
    """What the worker does about them. Safe to use from several threads."""

    def __init__(self, workspace: Workspace, ask: Ask) -> None:
        self._workspace = workspace
        self._ask = ask

    def settings(self) -> EmailSettings:
        found = kept(self._workspace)
        return EmailSettings(found.revision, found.settings)

    def change(self, order: EmailSettingsOrder) -> EmailSettingsChanged:
        """Raises ConfigError, also when somebody else was quicker."""
        before, after = kept(self._workspace).settings, converted(order.settings)
        changed = keep(self._workspace, after, order.revision, dry_run=order.dry_run)
        parts = {part: PARTS[part] for part in made_anew(before, after)}
        return EmailSettingsChanged(changed.revision, changed.settings, differences(before, after), parts)

    def rules(self) -> RulesShown:
        fields = [FieldShown(name, field.type, field.sentence) for name, field in DESCRIBED_FIELDS.items()]
        return RulesShown(rules_shown(kept(self._workspace).settings), fields, get_args(Operator))

    def try_labels(self, order: LabelTrialOrder) -> LabelTrial:
        """Raises ConfigError."""
        rules = kept(self._workspace).settings.labels if order.labels is None else order.labels
        return tried_labels(rules, self._ask, order.warehouse)


class Worker(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    @property
    def email(self) -> EmailModelSettings: ...


def routes(worker: Worker) -> list[Any]:
    @get("/email/settings", role="viewer", sync_to_thread=True)
    def show_email_settings() -> EmailSettings:
        return worker.email.settings()

    @put("/email/settings", role="editor", sync_to_thread=True)
    def change_email_settings(
        data: Annotated[
            EmailSettingsOrder, Body(description="All settings, and the revision that they were made from")
        ],
    ) -> EmailSettingsChanged:
        return worker.email.change(data)

    @get("/email/rules", role="viewer", sync_to_thread=True)
    def show_email_rules() -> RulesShown:
        return worker.email.rules()

    @post("/email/labels/test", role="viewer", sync_to_thread=True, status_code=200)
    def test_email_labels(
        data: Annotated[LabelTrialOrder, Body(description="Label rules; {} for those of the workspace")],
    ) -> LabelTrial:
        return worker.email.try_labels(data)

    return [show_email_settings, change_email_settings, show_email_rules, test_email_labels]
