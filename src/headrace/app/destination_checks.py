"""Whether a destination's settings can work, as far as that is known without sending: its kind, its filter and its mapping look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.delivery import preparing
from headrace.destinations import base
from headrace.destinations.base import Place
from headrace.errors import ConfigError
from headrace.workspace import destinations
from headrace.workspace.secret_settings import without_secrets

if TYPE_CHECKING:
    from headrace.config import Config


def place_of(config: Config, slug: str) -> Place:
    """Where a destination of this data folder runs."""
    return Place(slug, config.folder / "destinations" / slug)


def check_settings(kind_slug: str, settings: Mapping[str, Any], place: Place) -> Sequence[str]:
    """What an operator should know about these settings, which are in clear. No secret stands in it.

    Raises ConfigError, in whose text none does either, and NotFoundError for a kind that is not in the catalogue."""
    checked = destinations.checked(kind_slug, settings)
    secrets = destinations.secrets_of(kind_slug, checked)
    try:
        configured = base.configured(kind_slug, checked, place)
        preparing.checked(configured)
        _check_batch(configured, kind_slug)
        return [without_secrets(warning, secrets) for warning in configured.warnings()]
    except ConfigError as error:
        raise ConfigError(without_secrets(str(error), secrets)) from None
    except ValueError as error:  # for example an address that is none
        text = without_secrets(str(error), secrets)
        raise ConfigError(
            f"destination {place.slug}: {text}; `headrace catalog {kind_slug}` says what its settings are"
        ) from None


def _check_batch(configured: base.DestinationKind, kind_slug: str) -> None:
    wanted, most = configured.settings.batch_events, configured.batching.events
    if wanted > most:
        raise ConfigError(
            f"destination {configured.place.slug}: batch_events is {wanted}, but a request of {kind_slug} takes {most} at the most; "
            f"give up to {most}, or 0 for what is usual"
        )
