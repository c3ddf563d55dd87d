"""Alerts and channels of a data folder over the API, with the checks that the command line makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.alerts import kept
from headrace.alerts.alerts import kept_in
from headrace.alerts.shown import AlertShown, ChannelShown, alert_shown, channel_shown
from headrace.app import alert_trials, kept_secrets
from headrace.console.alerts import (
    AlertChange,
    AlertOrder,
    ChannelChange,
    ChannelOrder,
    ChannelTrial,
    NoticeTried,
)
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.workspace import Workspace

UNSAVED = "unsaved"


class AlertOrders:
    """May be called from any thread. The server's loop of alerts takes changes up by itself, within two seconds."""

    def __init__(self, config: Config, workspace: Workspace) -> None:
        self._config = config
        self._workspace = workspace
        self._alerts = kept_in(workspace)

    def every(self) -> Sequence[AlertShown]:
        """Oldest first."""
        state = kept.read(self._config.folder)
        return [alert_shown(alert, state) for alert in self._alerts.snapshot().alerts]

    def one(self, slug: str) -> AlertShown:
        """Raises NotFoundError."""
        return alert_shown(self._alerts.alert(slug), kept.read(self._config.folder))

    def add(self, order: AlertOrder) -> AlertShown:
        """Raises ConfigError and NotFoundError."""
        subject_is_there(self._workspace, order.settings)
        alert = self._alerts.add_alert(order.condition, order.nickname, order.settings, order.channels)
        return self.one(alert.slug)

    def change(self, slug: str, change: AlertChange) -> AlertShown:
        """Raises ConfigError and NotFoundError; then nothing has changed."""
        self._alerts.alert(slug)
        subject_is_there(self._workspace, change.settings or {})
        with self._workspace.together():
            if change.settings or change.channels is not None or change.nickname is not None:
                self._alerts.set_alert(slug, change.settings or {}, change.channels, change.nickname)
            if change.paused is not None:
                (self._alerts.pause if change.paused else self._alerts.resume)(slug)
        return self.one(slug)

    def remove(self, slug: str) -> AlertShown:
        """Raises NotFoundError."""
        return alert_shown(self._alerts.remove_alert(slug), None)

    def try_alert(self, slug: str) -> Sequence[NoticeTried]:
        """Blocks until every channel has answered. Raises NotFoundError."""
        alert = self._alerts.alert(slug)
        told = [self._alerts.channel(channel) for channel in alert.channels]
        return alert_trials.tried(self._config, self._alerts, told, alert_trials.of_alert(alert))

    def channels(self) -> Sequence[ChannelShown]:
        """Oldest first."""
        state = kept.read(self._config.folder)
        return [channel_shown(channel, state) for channel in self._alerts.snapshot().channels]

    def channel(self, slug: str) -> ChannelShown:
        """Raises NotFoundError."""
        return channel_shown(self._alerts.channel(slug), kept.read(self._config.folder))

    def add_channel(self, order: ChannelOrder) -> ChannelShown:
        """Raises ConfigError and NotFoundError."""
        return self.channel(self._alerts.add_channel(order.kind, order.nickname, order.settings).slug)

    def change_channel(self, slug: str, change: ChannelChange) -> ChannelShown:
        """What waits for it is then tried at once. Raises ConfigError and NotFoundError."""
        self._check_kept(slug, change.settings or {})
        self._alerts.set_channel(slug, change.settings or {}, change.nickname)
        return self.channel(slug)

    def remove_channel(self, slug: str) -> ChannelShown:
        """Raises NotFoundError, and ConfigError while an alert tells it."""
        return channel_shown(self._alerts.remove_channel(slug), None)

    def try_channel(self, slug: str) -> NoticeTried:
        """Blocks until it has answered. Raises NotFoundError."""
        channel = self._alerts.channel(slug)
        part = alert_trials.of_channel(channel.nickname, slug)
        return alert_trials.tried(self._config, self._alerts, [channel], part)[0]

    def try_unsaved_channel(self, trial: ChannelTrial) -> NoticeTried:
        """Blocks until it has answered. Raises ConfigError and NotFoundError."""
        if trial.slug is not None:
            kind = self._alerts.channel(trial.slug).kind
            self._check_kept(trial.slug, trial.settings)
            settings = self._alerts.channel_settings_after(trial.slug, trial.settings)
        elif trial.kind is not None:
            kind = trial.kind
            settings = self._alerts.checked_channel(kind, trial.settings)
        else:
            raise ConfigError("alert channel: say what is tested; give a kind, or the slug of a channel")
        secrets = self._alerts.secrets_among(kind, settings)
        return alert_trials.tried_unsaved(self._config, kind, trial.slug or UNSAVED, settings, secrets)

    def _check_kept(self, slug: str, changes: Mapping[str, Any]) -> None:
        channel = self._alerts.channel(slug)
        secret = self._alerts.secret_names(channel.kind, channel.settings)
        kept_secrets.check(f"alert channel {slug}", channel.settings, secret, changes)


def subject_is_there(workspace: Workspace, settings: Mapping[str, Any]) -> None:
    """An alert on what is not there would be silent for ever. Raises NotFoundError."""
    looks: Mapping[str, Callable[[str], object]] = {
        "source": workspace.source,
        "destination": workspace.destination,
        "warehouse": workspace.warehouse,
    }
    for name, one in looks.items():
        if settings.get(name):
            one(str(settings[name]))
