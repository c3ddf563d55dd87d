"""Several destinations of one log at the same time, as a worker has them, over real HTTP; for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from delivery_house import EVENING_BEFORE, House, _wait
from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.delivering import Delivering
from headrace.delivery.feed import Feed
from headrace.delivery.http import HttpClient
from headrace.delivery.preparing import checked
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations.base import Place

LOOPBACK = AllowedNetworks("127.0.0.0/8")


class Street:
    """Webhooks by slug, with the settings of each; `https` are the limits of the `client` of a slug, where they differ."""

    def __init__(
        self,
        house: House,
        settings: Mapping[str, Mapping[str, Any]],
        https: Mapping[str, Mapping[str, Any]] | None = None,
        client: Callable[..., HttpClient] = HttpClient,
    ) -> None:
        self._house = house
        self._settings = settings
        self._https = https or {}
        self._client = client
        self.running: dict[str, Delivering] = {}

    def file(self, slug: str) -> Path:
        return self._house.folder / "deliveries" / f"{slug}.db"

    def deliver(self, until: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Until the condition holds, which it must within 20 s. `meanwhile` is called once all have taken their positions."""
        uvloop.run(self._deliver(until, meanwhile))  # the loop of a worker

    async def _deliver(self, until: Callable[[], bool], meanwhile: Callable[[], object]) -> None:
        feed = Feed(self._house.readers(), self._house.folder / "deliveries")
        opened: list[tuple[Delivering, Store, HttpClient]] = []
        for slug, settings in self._settings.items():
            kind = base.configured("webhook", settings, Place(slug, self._house.folder / "own"))
            store = await asyncio.to_thread(Store, self.file(slug))
            http = self._client(LOOPBACK, **self._https.get(slug, {}))
            delivering = Delivering(
                kind, checked(kind), ["selligent"], EVENING_BEFORE, store, feed, http, chance=lambda: 0.02
            )
            self.running[slug] = delivering
            opened.append((delivering, store, http))
        tasks = [asyncio.create_task(delivering.run()) for delivering, _, _ in opened]
        following = asyncio.create_task(feed.follow())
        try:
            await asyncio.sleep(0.05)
            meanwhile()
            await _wait(following, until)
        finally:
            for task in (*tasks, following):
                task.cancel()
            await asyncio.gather(*tasks, following, return_exceptions=True)
            for delivering, store, http in opened:
                await delivering.close()
                await http.close()
                store.close()
            await feed.close()
