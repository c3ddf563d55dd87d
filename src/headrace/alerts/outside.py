"""What channels have of the world, as a server's settings allow it: the same rules and time limits as for destinations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address

from headrace.alerts.channels import Outside
from headrace.config import Config
from headrace.delivery._http_opening import own_towards
from headrace.delivery.addresses import SETTING, AllowedNetworks, refusal
from headrace.delivery.http import HttpClient
from headrace.destinations.base import Http


def outside(config: Config) -> Outside:
    """Raises ConfigError for allowed networks that are none."""
    allowed = AllowedNetworks(config.allowed_networks)

    @asynccontextmanager
    async def http() -> AsyncIterator[Http]:
        limits = config.delivery
        client = HttpClient(
            allowed,
            connect_seconds=limits.connect_timeout_seconds,
            request_seconds=limits.request_timeout_seconds,
            connections=1,
        )
        try:
            yield client
        finally:
            await client.close()

    def refused(text: str) -> str | None:
        address = ip_address(text)
        reason = refusal(address, allowed, own_towards(address))
        return f"{reason}; use a public address, or allow the network by {SETTING}" if reason else None

    return Outside(http, refused, lambda: datetime.now(UTC))
