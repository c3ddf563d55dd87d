"""CPU time of durable appends to the embedded log, per event of 1.1 KB: `bench/log_append.py [FOLDER]`."""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from headrace import event
from headrace.config import LogConfig
from headrace.event import Event
from headrace.log.base import Hour, Tally
from headrace.log.sqlite import SqliteLog

EVENTS = 64_000
ROUNDS = 3
AT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = Hour("selligent", AT)


def lines(count: int, seed: int = 1) -> list[bytes]:
    """Events of an e-mail platform, about 1.1 KB each, no two alike."""
    chosen = random.Random(seed)
    context = {
        "library": {"name": "analytics-node", "version": "2.1.3"},
        "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        "campaign": {"name": "spring-sale-2026", "source": "newsletter", "medium": "email"},
        "locale": "nl-BE",
        "timezone": "Europe/Brussels",
    }
    made = []
    for number in range(count):
        properties = {
            "mailing_id": 4_000 + chosen.randrange(40),
            "mailing_name": f"Spring sale, wave {chosen.randrange(9)}: everything for the garden",
            "link_url": f"https://shop.example/p/{chosen.randrange(10**6)}?utm_campaign=spring&c={chosen.randbytes(8).hex()}",
            "price": round(chosen.random() * 200, 2),
            "products": [{"sku": chosen.randbytes(4).hex(), "quantity": chosen.randrange(1, 5)} for _ in range(4)],
            "note": " ".join(chosen.choice(("red", "green", "blue", "large", "small", "new")) for _ in range(40)),
        }
        made.append(
            event.encode(
                Event(
                    "selligent", "track", chosen.randbytes(16).hex(), AT, AT, "Email Link Clicked",
                    user_id=f"user-{chosen.randrange(10**6)}", anonymous_id=chosen.randbytes(16).hex(),
                    original_timestamp="2026-03-01T00:00:00.000Z", sent_at=f"2026-03-01T00:{number % 60:02}:01.000Z",
                    properties=msgspec.Raw(msgspec.json.encode(properties)),
                    context=msgspec.Raw(msgspec.json.encode({**context, "ip": f"10.0.{number % 256}.{chosen.randrange(256)}"})),
                )
            )
        )  # fmt: skip
    return made


def measure(folder: Path, events: Sequence[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        writer = SqliteLog(Path(place), LogConfig()).writer(0)
        before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for first in range(0, len(events), size):
            part = events[first : first + size]
            writer.append(part, {HOUR: Tally(len(part))})
        seconds = time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_SELF)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        stored = sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file())
        writer.close()
    count = len(events)
    print(
        f"{size:4} events an append: CPU {1e6 * (user + system) / count:5.2f} us/event "
        f"(user {1e6 * user / count:.2f}, system {1e6 * system / count:.2f}), wall {1e6 * seconds / count:6.2f} us/event, "
        f"{stored / count:.0f} bytes/event on disk"
    )


def polls(folder: Path, events: Sequence[bytes]) -> None:
    """What a reader costs that finds nothing new."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        log = SqliteLog(Path(place), LogConfig())
        writer, reader = log.writer(0), log.reader(0)
        for first in range(0, 6_400, 64):
            writer.append(events[first : first + 64], {HOUR: Tally(64)})
        before = time.process_time()
        for _ in range(2_000):
            reader.bounds()
            reader.read(6_400, max_entries=100, max_bytes=100_000)
        print(f"a poll that finds nothing (bounds and read): CPU {1e6 * (time.process_time() - before) / 2_000:.1f} us")
        before, offset = time.process_time(), 0
        while offset < 6_400:
            offset = reader.read(offset, max_entries=4_096, max_bytes=4_000_000).next
        print(f"reading and decoding: CPU {1e6 * (time.process_time() - before) / 6_400:.2f} us/event")
        reader.close()
        writer.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir())
    events = lines(EVENTS)
    print(f"{len(events)} events of {sum(map(len, events)) / len(events):.0f} bytes, in {folder}")
    for _ in range(ROUNDS):
        for size in (64, 500):
            measure(folder, events, size)
    polls(folder, events)


if __name__ == "__main__":
    main()
