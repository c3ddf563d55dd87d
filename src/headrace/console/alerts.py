"""Alerts and their channels in the API: what can be watched, who is told, what holds now, and test notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from litestar import delete, get, patch, post
from litestar.params import Body, FromPath

from headrace.alerts.base import AlertSettings
from headrace.alerts.channels import CHANNELS
from headrace.alerts.conditions import CONDITIONS
from headrace.alerts.shown import AlertShown, ChannelShown
from headrace.catalog import declared_settings
from headrace.console.catalogue import SettingShown, setting_shown

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Slugs = Annotated[tuple[str, ...], msgspec.Meta(max_length=100)]


class AlertKind(msgspec.Struct, frozen=True):
    """What can be watched, or how people can be told. `own` settings are those that not every condition has."""

    slug: str
    what: Literal["condition", "channel"]
    summary: str
    docs_url: str
    settings: Sequence[SettingShown]


class AlertOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    condition: Name
    nickname: Name
    channels: Slugs
    settings: dict[str, Any] = {}


class AlertChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is null or missing stays. Of `settings` those that are named change, null takes one back to its default; `channels` are all
    that are told then."""

    nickname: Name | None = None
    settings: dict[str, Any] | None = None
    channels: Slugs | None = None
    paused: bool | None = None


class ChannelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    kind: Name
    nickname: Name
    settings: dict[str, Any] = {}


class ChannelChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As for alerts; a secret's own mask keeps it."""

    nickname: Name | None = None
    settings: dict[str, Any] | None = None


class ChannelTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that are not saved: of a new channel of this `kind`, or with `slug` of one that is there after these changes."""

    kind: Name | None = None
    slug: Name | None = None
    settings: dict[str, Any] = {}


class NoticeTried(msgspec.Struct, frozen=True):
    """What came of a test notice. `text` is the channel's own reason, without secrets."""

    channel: str
    ok: bool
    code: str
    text: str


class AlertOrders(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def every(self) -> Sequence[AlertShown]: ...

    def one(self, slug: str) -> AlertShown: ...

    def add(self, order: AlertOrder) -> AlertShown: ...

    def change(self, slug: str, change: AlertChange) -> AlertShown: ...

    def remove(self, slug: str) -> AlertShown: ...

    def try_alert(self, slug: str) -> Sequence[NoticeTried]: ...

    def channels(self) -> Sequence[ChannelShown]: ...

    def channel(self, slug: str) -> ChannelShown: ...

    def add_channel(self, order: ChannelOrder) -> ChannelShown: ...

    def change_channel(self, slug: str, change: ChannelChange) -> ChannelShown: ...

    def remove_channel(self, slug: str) -> ChannelShown: ...

    def try_channel(self, slug: str) -> NoticeTried: ...

    def try_unsaved_channel(self, trial: ChannelTrial) -> NoticeTried: ...


class Worker(Protocol):
    @property
    def alerts(self) -> AlertOrders: ...


def kinds() -> Sequence[AlertKind]:
    common = AlertSettings.__struct_fields__
    conditions = [
        AlertKind(
            slug,
            "condition",
            of.summary,
            "docs/alerts.md",
            [setting_shown(setting, own=setting.name not in common) for setting in declared_settings(of.Settings)],
        )
        for slug, of in CONDITIONS.items()
    ]
    channels = [
        AlertKind(slug, "channel", of.summary, of.docs_url, [setting_shown(s) for s in declared_settings(of.Settings)])
        for slug, of in CHANNELS.items()
    ]
    return [*conditions, *channels]


def routes(worker: Worker) -> list[Any]:
    @get("/alert-kinds", role="viewer", sync_to_thread=False)
    def list_alert_kinds() -> Sequence[AlertKind]:
        return kinds()

    return [list_alert_kinds, *_of_alerts(worker), *_of_channels(worker)]


def _of_alerts(worker: Worker) -> list[Any]:
    @get("/alerts", role="viewer", sync_to_thread=True)
    def list_alerts() -> Sequence[AlertShown]:
        return worker.alerts.every()

    @post("/alerts", role="editor", sync_to_thread=True, status_code=201)
    def add_alert(data: Annotated[AlertOrder, Body(description="What is watched, and who is told")]) -> AlertShown:
        return worker.alerts.add(data)

    @get("/alerts/{slug:str}", role="viewer", sync_to_thread=True)
    def show_alert(slug: FromPath[str]) -> AlertShown:
        return worker.alerts.one(slug)

    @patch("/alerts/{slug:str}", role="editor", sync_to_thread=True)
    def change_alert(
        slug: FromPath[str], data: Annotated[AlertChange, Body(description="What is not named stays")]
    ) -> AlertShown:
        return worker.alerts.change(slug, data)

    @delete("/alerts/{slug:str}", role="editor", sync_to_thread=True, status_code=200)
    def remove_alert(slug: FromPath[str]) -> AlertShown:
        return worker.alerts.remove(slug)

    @post("/alerts/{slug:str}/test", role="editor", sync_to_thread=True, status_code=200)
    def test_alert(slug: FromPath[str]) -> Sequence[NoticeTried]:
        return worker.alerts.try_alert(slug)

    return [list_alerts, add_alert, show_alert, change_alert, remove_alert, test_alert]


def _of_channels(worker: Worker) -> list[Any]:
    @get("/alert-channels", role="viewer", sync_to_thread=True)
    def list_alert_channels() -> Sequence[ChannelShown]:
        return worker.alerts.channels()

    @post("/alert-channels", role="editor", sync_to_thread=True, status_code=201)
    def add_alert_channel(
        data: Annotated[ChannelOrder, Body(description="The kind of channel and its settings")],
    ) -> ChannelShown:
        return worker.alerts.add_channel(data)

    @get("/alert-channels/{slug:str}", role="viewer", sync_to_thread=True)
    def show_alert_channel(slug: FromPath[str]) -> ChannelShown:
        return worker.alerts.channel(slug)

    @patch("/alert-channels/{slug:str}", role="editor", sync_to_thread=True)
    def change_alert_channel(
        slug: FromPath[str], data: Annotated[ChannelChange, Body(description="What is not named stays")]
    ) -> ChannelShown:
        return worker.alerts.change_channel(slug, data)

    @delete("/alert-channels/{slug:str}", role="editor", sync_to_thread=True, status_code=200)
    def remove_alert_channel(slug: FromPath[str]) -> ChannelShown:
        return worker.alerts.remove_channel(slug)

    @post("/alert-channels/{slug:str}/test", role="editor", sync_to_thread=True, status_code=200)
    def test_alert_channel(slug: FromPath[str]) -> NoticeTried:
        return worker.alerts.try_channel(slug)

    @post("/alert-channel-tests", role="editor", sync_to_thread=True, status_code=200)
    def test_unsaved_alert_channel(
        data: Annotated[ChannelTrial, Body(description="Settings that are not saved")],
    ) -> NoticeTried:
        return worker.alerts.try_unsaved_channel(data)

    return [list_alert_channels, add_alert_channel, show_alert_channel, change_alert_channel, remove_alert_channel, test_alert_channel,
            test_unsaved_alert_channel]  # fmt: skip
