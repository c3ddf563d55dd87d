"""A funnel with freely chosen steps: how many messages reach each, and how long that takes.

What is counted are messages (a mail to one recipient). The first step is something that happens to the mail; the next ones are that, too, or
something that its recipient does: a conversion of a goal, or any event of any source. Each step is reached at a moment not before
that of the step before, and within a window after it, so that each step's messages are part of the one before.
"""

# ruff: noqa: S608 -- numbers are checked, identifiers and values go through the engine's `quoted` and `text`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import msgspec

from headrace.errors import ConfigError
from headrace.reports.ad_hoc import event_rows
from headrace.reports.conditions import Condition, Field, condition_sql
from headrace.reports.goals import goal_named
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import EARLY_SECONDS, Type
from headrace.reports.periods import within
from headrace.reports.place import Place

STEP: Final = "funnel"
MOST_STEPS: Final = 10
MOST_PARTS: Final = 1_000
MOST_DAYS: Final = 365.0
EVENT_DAYS: Final = 5.0

Breakdown = Literal["campaign_id", "email_id", "journey_id", "domain", "source"]
Days = Annotated[float, msgspec.Meta(gt=0, le=MOST_DAYS)]


class MailStep(NamedTuple):
    """`is_reached` and `moment` are expressions over `email.messages AS m`."""

    sentence: str
    is_reached: str
    moment: str


MAIL_STEPS: Final[Mapping[str, MailStep]] = {
    "sent": MailStep("It counts as sent.", "m.is_sent", "m.sent_at"),
    "delivered": MailStep("It counts as delivered.", "m.is_delivered", "coalesce(m.delivered_at, m.sent_at)"),
    "opened": MailStep("It was opened, by a person or a machine.", "m.is_opened", "m.opened_at"),
    "human_opened": MailStep(
        "A person opened it, or clicked without an open.", "m.is_human_opened", "m.human_opened_at"
    ),
    "clicked": MailStep("It was clicked, by a person or a machine.", "m.is_clicked", "m.clicked_at"),
    "human_clicked": MailStep("A person clicked it.", "m.is_human_clicked", "m.human_clicked_at"),
    "bounced": MailStep("It bounced; the last time counts.", "m.is_bounced", "m.bounced_at"),
    "unsubscribed": MailStep("The recipient unsubscribed by it.", "m.is_unsubscribed", "m.unsubscribed_at"),
    "complained": MailStep("It was marked as spam.", "m.is_complained", "m.complained_at"),
}
"""What happens to a mail, each at its first time."""

FILTERS: Final[Mapping[str, Field]] = {
    "source": Field("m.source", "text"),
    "campaign_id": Field("m.campaign_id", "text"),
    "email_id": Field("m.email_id", "text"),
    "journey_id": Field("m.journey_id", "text"),
    "list_id": Field("m.list_id", "text"),
    "domain": Field("m.domain", "text"),
    "recipient_key": Field("m.recipient_key", "text"),
    "device": Field("m.device", "text"),
    "bounce_type": Field("m.bounce_type", "text"),
    "send_number": Field("m.send_number", "number"),
    "is_matched": Field("m.is_matched", "truth"),
    "sent_at": Field("m.sent_at", "time"),
}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a funnel. `step` is one of MAIL_STEPS; `goal:NAME`, a conversion of that goal by the recipient, `goal` one of the first goal;
    `attributed:NAME` or `attributed`, a conversion that the last touch gives to this very message; `event:NAME`, an event of any source by
    the recipient, by its name as it is sent or that of its table. What a person does may be reached from several of their messages, only
    `attributed` is given to one; the earliest that fits the step before counts."""

    step: str
    within_days: Days | None = None
    """At the most so long after the step before. None: of a goal its click_days, of an event 5, else without an end."""
    source: str | None = None
    """Of `event:`: only of this source (its slug)."""
    touch: Literal["click", "open"] | None = None
    """Of `attributed`: only by such a touch."""
    name: str | None = None
    """What the answer calls the step; None: as `step` is written."""


ORDERS: Final[Sequence[Step]] = (
    Step("delivered"),
    Step("human_opened"),
    Step("human_clicked"),
    Step("attributed", touch="click", name="ordered"),
)
"""The funnel of the simulator's truth: delivered, opened by a person, clicked by a person, a conversion of the first goal given to that click."""
PRESETS: Final[Mapping[str, Sequence[Step]]] = {"orders": ORDERS}


class FunnelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Test sends count nowhere."""

    steps: Sequence[Step] = ORDERS
    """2 to 10; the first is one of MAIL_STEPS."""
    filters: Sequence[Condition] = ()
    """All hold of the message; the fields are FILTERS."""
    since: datetime | None = None
    """Messages sent from this moment on."""
    until: datetime | None = None
    """Messages sent before this moment."""
    breakdown: Breakdown | None = None
    """A funnel of its own for each value."""
    limit: int = 50
    """Of a breakdown so many parts, those with the most messages in the first step; 1 to 1,000."""


class FunnelStep(msgspec.Struct, frozen=True):
    """`of_first` and `of_previous` are shares from 0 to 1, null after nothing. Seconds are from the step before, null for the first step and where
    nobody reached it; quantiles are interpolated. What was stamped before its delivery took 0 seconds."""

    name: str
    messages: int
    of_first: float | None
    of_previous: float | None
    median_seconds: float | None
    p90_seconds: float | None


class FunnelPart(msgspec.Struct, frozen=True):
    """`part`: the value of the breakdown, empty where there is none or where it is not known."""

    part: str
    steps: Sequence[FunnelStep]


class FunnelResult(msgspec.Struct, frozen=True):
    """`parts`: those with the most messages first; one where nothing is broken down. `parts_in_all` counts those that the limit left out, too."""

    breakdown: Breakdown | None
    parts: Sequence[FunnelPart]
    parts_in_all: int


def sql(request: FunnelRequest, place: Place) -> str:
    """One SELECT of `position` (1 is the first step), `part`, `messages`, `median_seconds`, `p90_seconds`, `parts_in_all`; a row for each step of each part
    that has messages. Raises ConfigError for what cannot be asked."""
    _check(request)
    steps = [_planned(position, step, place) for position, step in enumerate(request.steps, 1)]
    queries = [_first(request, steps, place.engine)]
    queries += [step.query(place.engine, steps[step.position - 2]) for step in steps[1:]]
    queries = [query for step in steps for query in step.beside] + queries
    counts = " UNION ALL ".join(_counts(step.position, place.engine) for step in steps)
    return f"WITH {', '.join(queries)} {counts} ORDER BY 1, 2"


def result(request: FunnelRequest, table: Any) -> FunnelResult:
    """From the rows of `sql`, a pyarrow.Table."""
    rows_by_part: dict[str, dict[int, Mapping[str, Any]]] = {}
    parts_in_all = 0
    for row in table.to_pylist():
        rows_by_part.setdefault(row["part"], {})[row["position"]] = row
        parts_in_all = row["parts_in_all"]
    if request.breakdown is None and not rows_by_part:
        rows_by_part[""], parts_in_all = {}, 1
    parts = [FunnelPart(part, _steps(request, rows)) for part, rows in rows_by_part.items()]
    return FunnelResult(
        request.breakdown, sorted(parts, key=lambda part: (-part.steps[0].messages, part.part)), parts_in_all
    )


def _steps(request: FunnelRequest, rows: Mapping[int, Mapping[str, Any]]) -> Sequence[FunnelStep]:
    steps: list[FunnelStep] = []
    for position, step in enumerate(request.steps, 1):
        row = rows.get(position, {})
        messages = int(row.get("messages", 0))
        first, before = (steps[0].messages, steps[-1].messages) if steps else (messages, 0)
        steps.append(
            FunnelStep(
                name=step.name or step.step,
                messages=messages,
                of_first=messages / first if first else None,
                of_previous=messages / before if before else None,
                median_seconds=row.get("median_seconds"),
                p90_seconds=row.get("p90_seconds"),
            )
        )
    return steps


def _check(request: FunnelRequest) -> None:
    """What the types cannot say, and what they say but nobody checks when a request is made in Python."""
    if not 2 <= len(request.steps) <= MOST_STEPS:
        raise ConfigError(
            f"{STEP}: give 2 to {MOST_STEPS} steps, the first of them of a mail, such as delivered; found {len(request.steps)}"
        )
    if request.steps[0].step not in MAIL_STEPS:
        raise ConfigError(
            f"{STEP}: the first step is {request.steps[0].step!r:.100}; it must be one of {', '.join(MAIL_STEPS)}"
        )
    if request.breakdown is not None and request.breakdown not in get_args(Breakdown):
        raise ConfigError(
            f"{STEP}: no breakdown by {request.breakdown!r:.100}; there are {', '.join(get_args(Breakdown))}"
        )
    if not 1 <= request.limit <= MOST_PARTS:
        raise ConfigError(f"{STEP}: the limit is {request.limit!r:.100}; it must be from 1 to {MOST_PARTS}")
    for step in request.steps:
        days = step.within_days
        if days is not None and not 0 < days <= MOST_DAYS:
            raise ConfigError(f"{STEP}: {step.step} within {days!r:.100} days; it must be more than 0, at most 365")
        kind = step.step.partition(":")[0]
        if step.source is not None and kind != "event":
            raise ConfigError(f"{STEP}: {step.step} takes no source; only event:NAME does")
        if step.touch is not None and (kind != "attributed" or step.touch not in ("click", "open")):
            raise ConfigError(f"{STEP}: {step.step} takes no touch {step.touch!r:.100}; attributed takes click or open")


class _Planned(NamedTuple):
    """`beside`: WITH queries that it reads. `mail`: of the message itself. Else `moments` is a query of `at` and of `joined`, by which it is joined."""

    position: int
    within_seconds: float | None
    mail: MailStep | None = None
    beside: Sequence[str] = ()
    moments: str = ""
    joined: str = ""

    @property
    def is_stamped_late(self) -> bool:
        return self.mail in (MAIL_STEPS["sent"], MAIL_STEPS["delivered"])

    def query(self, engine: Engine, before: _Planned) -> str:
        """The WITH query `reached_N` out of that of the step before."""
        position, earlier = self.position, f"r.at_{before.position}"
        found = f"r.mail_{position}" if self.mail else "e.at"
        begins = f"{earlier} - {engine.interval(EARLY_SECONDS)}" if before.is_stamped_late else earlier
        conditions = [f"{found} >= {begins}"]
        if self.within_seconds is not None:
            conditions.append(f"{found} <= {earlier} + {engine.interval(self.within_seconds)}")
        rows, reached = f"reached_{before.position}", " AND ".join(conditions)
        if self.mail:
            return f"reached_{position} AS (SELECT r.*, {found} AS at_{position} FROM {rows} AS r WHERE {reached})"
        return (
            f"earliest_{position} AS (SELECT r.message_id, min(e.at) AS at_{position} FROM {rows} AS r "
            f"JOIN {self.moments} AS e ON e.{self.joined} = r.{self.joined} WHERE {reached} GROUP BY r.message_id), "
            f"reached_{position} AS (SELECT r.*, e.at_{position} FROM {rows} AS r "
            f"JOIN earliest_{position} AS e ON e.message_id = r.message_id)"
        )


def _planned(position: int, step: Step, place: Place) -> _Planned:
    seconds = None if step.within_days is None else step.within_days * 86_400
    mail = MAIL_STEPS.get(step.step)
    if mail is not None:
        return _Planned(position, seconds, mail)
    kind, colon, name = step.step.partition(":")
    if kind == "event" and name:
        query = f"events_{position} AS (SELECT recipient_key, happened_at AS at FROM ({event_rows(name, step.source, place, STEP)}) AS e)"
        seconds = EVENT_DAYS * 86_400 if seconds is None else seconds
        return _Planned(position, seconds, beside=(query,), moments=f"events_{position}", joined="recipient_key")
    if kind in ("goal", "attributed") and bool(name) == bool(colon):
        goal = goal_named(name or None, place, STEP)
        of_goal = f"goal = {place.engine.text(goal.name)}"
        if kind == "goal":
            seconds = goal.click_days * 86_400 if seconds is None else seconds
            moments = f"(SELECT person_key, happened_at AS at FROM email.conversions WHERE {of_goal})"
            return _Planned(position, seconds, moments=moments, joined="person_key")
        touch = "" if step.touch is None else f" AND touch = {place.engine.text(step.touch)}"
        moments = (
            f"(SELECT message_id, happened_at AS at FROM email.attribution WHERE {of_goal} AND model = 'last'{touch})"
        )
        return _Planned(position, seconds, moments=moments, joined="message_id")
    raise ConfigError(
        f"{STEP}: there is no step {step.step!r:.100}; there are {', '.join(MAIL_STEPS)}, goal:NAME, attributed:NAME, event:NAME"
    )


def _first(request: FunnelRequest, steps: Sequence[_Planned], engine: Engine) -> str:
    """The WITH queries `everyone`, `parts` and `reached_1`: messages of the first step, with the moments of all that happens to them."""
    mails = [(step.position, step.mail) for step in steps if step.mail]
    moments = ", ".join(
        f"CASE WHEN {mail.is_reached} THEN {mail.moment} END AS {'at' if position == 1 else 'mail'}_{position}"
        for position, mail in mails
    )
    part = f"coalesce(m.{request.breakdown}, '')" if request.breakdown else "''"
    conditions = [
        "m.is_test IS NOT TRUE",
        mails[0][1].is_reached,
        *within("m.sent_at", request.since, request.until, engine, STEP),
        *(condition_sql(condition, FILTERS, engine, STEP) for condition in request.filters),
    ]
    return (
        f"everyone AS (SELECT m.message_id, m.recipient_key, m.person_key, {part} AS part, {moments} "
        f"FROM email.messages AS m WHERE {' AND '.join(conditions)}), "
        "parts AS (SELECT part, count(*) OVER () AS parts_in_all FROM everyone GROUP BY part "
        f'ORDER BY count(*) DESC, part COLLATE "C" LIMIT {int(request.limit)}), '
        "reached_1 AS (SELECT r.*, p.parts_in_all FROM everyone AS r JOIN parts AS p ON p.part = r.part)"
    )


def _counts(position: int, engine: Engine) -> str:
    if position == 1:
        nothing = engine.null(Type.RATE)
        quantiles = f"{nothing} AS median_seconds, {nothing} AS p90_seconds"
    else:
        seconds = f"greatest(0.0, {engine.seconds(f'at_{position}', f'at_{position - 1}')})"
        quantiles = ", ".join(
            f"percentile_cont({share}) WITHIN GROUP (ORDER BY {seconds}) AS {name}"
            for share, name in ((0.5, "median_seconds"), (0.9, "p90_seconds"))
        )
    return (
        f"SELECT {position} AS position, part, count(*) AS messages, {quantiles}, max(parts_in_all) AS parts_in_all "
        f"FROM reached_{position} GROUP BY part"
    )
