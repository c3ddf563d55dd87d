"""The API's questions and orders about the e-mail model: its settings, its rules, and labels that are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Protocol, get_args

import msgspec
from litestar import get, post, put
from litestar.params import Body

from headrace.console.status import Status, WarehouseState
from headrace.errors import HeadraceError, QueryError
from headrace.reports.conditions import Operator
from headrace.reports.model.checking import converted
from headrace.reports.model.differences import PARTS, Part, differences, made_anew
from headrace.reports.model.kept import keep, kept, mail_sources
from headrace.reports.model.label_trial import Ask, LabelTrial, tried_labels
from headrace.reports.model.rule_fields import DESCRIBED_FIELDS
from headrace.reports.model.rules_shown import RuleShown, rules_shown
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.workspace.workspace import Workspace

STANDING: Final = """
SELECT
    (SELECT count(*) FROM email.progress WHERE schema_name <> '') AS tables_read,
    (SELECT min(loaded_to) FROM email.progress WHERE schema_name <> '') AS read_to,
    (SELECT count(*) FROM headrace.loads WHERE started > (SELECT min(loaded_to) FROM email.progress WHERE schema_name <> ''))
        AS loads_waiting,
    (SELECT count(*) > 0 FROM email.progress WHERE schema_name = '' AND role = 'again') AS is_flagging,
    (SELECT count(*) FROM email.campaigns) AS campaigns,
    (SELECT count(*) FROM email.labels) AS labels
"""
"""What a warehouse tells of its model; a wrong query where it has none yet."""


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


class SourceRead(msgspec.Struct, frozen=True):
    """How the model reads a source. `is_kind`: its kind is e-mail; `is_added`: a person said so."""

    slug: str
    nickname: str
    schema: str
    is_kind: bool
    is_added: bool
    why: str


class WarehouseModel(msgspec.Struct, frozen=True):
    """The model in one warehouse. `state`: up to date, behind, standing still, none yet, unknown, none on this engine. `read_to` is the
    load up to which every table was read; `problem` is why it stands still or cannot be asked."""

    slug: str
    nickname: str
    kind: str
    state: str
    problem: str | None = None
    last_at: datetime | None = None
    last_seconds: float | None = None
    tables_read: int = 0
    read_to: datetime | None = None
    loads_waiting: int = 0
    is_flagging: bool = False
    campaigns: int = 0
    labels: int = 0


class EmailModelShown(msgspec.Struct, frozen=True):
    sources: Sequence[SourceRead]
    warehouses: Sequence[WarehouseModel]


def why(slug: str, settings: ModelSettings, *, is_email: bool) -> str:
    """Why a source is read as it is."""
    if is_email:
        return "its kind is e-mail"
    if slug in settings.email_sources:
        return "added by headrace email sources add, or in the console"
    return "only event names that always mean e-mail, identities and goals are read"


class EmailModelSettings:
    """What the worker does about them. Safe to use from several threads."""

    def __init__(self, workspace: Workspace, ask: Ask, status: Callable[[], Status]) -> None:
        """`status` is what warehouses said some seconds ago."""
        self._workspace = workspace
        self._ask = ask
        self._status = status

    def model(self) -> EmailModelShown:
        """What is read and why, and where the model of each warehouse stands."""
        settings = kept(self._workspace).settings
        sources = self._workspace.sources()
        kinds = {source.slug: source.is_email for source in mail_sources(sources)}
        read = [
            SourceRead(
                source.slug,
                source.nickname,
                source.schema,
                kinds.get(source.slug, False),
                source.slug in settings.email_sources,
                why(source.slug, settings, is_email=kinds.get(source.slug, False)),
            )
            for source in sources
        ]
        states = [one.warehouse for one in self._status().warehouses if one.warehouse is not None]
        return EmailModelShown(read, [self._of_warehouse(state) for state in states])

    def _of_warehouse(self, state: WarehouseState) -> WarehouseModel:
        told = WarehouseModel(state.slug, state.nickname, state.kind, "none on this engine")
        if state.as_of is not None or state.state in ("opening", "stopped", "closed"):
            problem = state.error or "it cannot be asked now"
            return msgspec.structs.replace(told, state="unknown", problem=problem)
        if state.email_model is None:
            return told
        known = state.email_model
        told = msgspec.structs.replace(
            told, problem=known.error, last_at=known.last_at, last_seconds=known.last_seconds
        )
        try:
            found = self._ask(STANDING, state.slug)
        except QueryError:
            return msgspec.structs.replace(told, state="none yet")
        except HeadraceError as error:
            return msgspec.structs.replace(told, state="unknown", problem=str(error))
        standing = dict(zip(found.columns, found.rows[0], strict=True))
        if standing["read_to"]:
            standing["read_to"] = datetime.fromisoformat(standing["read_to"])
        shown = "behind" if standing["loads_waiting"] or known.is_behind else "up to date"
        if known.error:
            shown = "standing still"
        elif not standing["tables_read"]:
            shown = "none yet"
        return msgspec.structs.replace(told, state=shown, **standing)

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
    @get("/email/model", role="viewer", sync_to_thread=True)
    def show_email_model() -> EmailModelShown:
        return worker.email.model()

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

    return [show_email_model, show_email_settings, change_email_settings, show_email_rules, test_email_labels]
