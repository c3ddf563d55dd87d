"""How an attempt's result becomes the story of an event: its outcome, its history, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headrace.delivery import retry
from headrace.delivery.commits import Story
from headrace.delivery.lanes import Item
from headrace.delivery.retry import Chance
from headrace.destinations.base import OutcomeName, Result

HISTORY: Final = 20
"""So many of an event's newest attempts are kept."""


class Stories:
    """Times are milliseconds since 1970."""

    def __init__(self, horizon_ms: int, now_ms: Callable[[], int], chance: Chance) -> None:
        self._horizon_ms = horizon_ms
        self._now_ms = now_ms
        self._chance = chance

    def begun(self, item: Item, code: str, detail: str, seconds: float = 0.0, result: Result | None = None) -> Story:
        """After the first attempt; without a result, where there was none."""
        now = self._now_ms()
        is_retry = result is not None and result.outcome == "retry"
        return Story(
            item.partition,
            item.offset,
            item.event,
            "retrying" if is_retry else "failed",
            code,
            detail,
            0 if result is None else 1,
            now,
            now,
            self._due(now, 1, result.retry_after_seconds) if result is not None and is_retry else 0,
            [[now, round(seconds, 3), code]] if result is not None else [],
            item.key,
        )

    def after(self, story: Story, result: Result, detail: str, seconds: float) -> Story:
        """After a further attempt. After the horizon what may pass has not passed."""
        story.attempts += 1
        if result.outcome == "delivered":
            return self.ended(story, "delivered", story.code, detail, seconds)
        if result.outcome == "retry" and self._now_ms() - story.first_at < self._horizon_ms:
            return self.ended(story, "retrying", result.code, detail, seconds, asked=result.retry_after_seconds)
        return self.ended(story, "failed", result.code, detail, seconds)

    def ended(
        self,
        story: Story,
        outcome: OutcomeName,
        code: str,
        detail: str,
        seconds: float = 0.0,
        *,
        asked: float | None = None,
    ) -> Story:
        """`asked` is the tool's Retry-After. What was delivered keeps the code of the attempt before."""
        now = self._now_ms()
        story.outcome = outcome
        if outcome != "delivered":
            story.code, story.detail = code, detail
        story.last_at = now
        story.history = [*story.history, [now, round(seconds, 3), "" if outcome == "delivered" else code]][-HISTORY:]
        story.due_at = self._due(now, max(1, story.attempts), asked) if outcome == "retrying" else 0
        return story

    def _due(self, now: int, attempts: int, asked: float | None) -> int:
        return now + int(1_000 * retry.delay_seconds(attempts, asked, self._chance))
