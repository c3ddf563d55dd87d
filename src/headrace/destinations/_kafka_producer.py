"""The driver's producer, served by a thread of its own: events of an attempt in, an error or None for each of them out."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from headrace.destinations._kafka_errors import Fault
from headrace.errors import ConfigError

POLL_SECONDS: Final = 0.1
_OWN_FULL: Final = Fault("_TIMED_OUT_QUEUE", "the driver's own buffer is full, since the brokers are too slow")
_logger: Final = logging.getLogger("headrace.destinations.kafka")


class Produced(NamedTuple):
    """What becomes one entry of a topic."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Answered(NamedTuple):
    """`is_own` where the driver refused the event before it stood among others."""

    fault: Fault | None
    is_own: bool = False


class Producer:
    """Made in the event loop that uses it."""

    def __init__(self, slug: str, configuration: Mapping[str, Any]) -> None:
        """Connects later, in the driver's threads. Raises ConfigError where the driver is missing or refuses the configuration."""
        try:
            import confluent_kafka  # noqa: PLC0415 -- not when the catalogue is listed
        except ImportError as error:
            raise ConfigError(
                f"destination {slug}: kafka's driver is not installed ({error}); install it: pip install 'headrace[kafka]'"
            ) from None
        self._errors = confluent_kafka.KafkaException
        self._loop = asyncio.get_running_loop()
        self.connection: Fault | None = None
        """What was last wrong with the connections; None once something has been delivered since."""
        self.is_broken = False
        """The driver gave up for good (a fatal error): another one must be made."""
        try:
            self._producer = confluent_kafka.Producer({**configuration, "error_cb": self._noticed, "logger": _logger})
        except (confluent_kafka.KafkaException, TypeError, ValueError) as error:
            raise ConfigError(f"destination {slug}: kafka: {_fault(error).text}") from None
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"kafka-{slug}", daemon=True)
        self._thread.start()

    async def produce(self, batch: Sequence[Produced], seconds: float) -> Sequence[Answered]:
        """An answer for each, at the latest after `seconds`; the driver's own time limit should be shorter."""
        answers = _Answers(len(batch), self._loop)
        for place, one in enumerate(batch):
            report = answers.report(place, self)
            try:
                self._producer.produce(one.topic, one.value, key=one.key, headers=list(one.headers), on_delivery=report)
            except BufferError:
                answers.put(place, Answered(_OWN_FULL))
            except self._errors as error:
                answers.put(place, Answered(self._seen(_fault(error)), is_own=True))
        try:
            async with asyncio.timeout(seconds):
                await answers.complete
        except TimeoutError:
            return [answer or Answered(Fault("_TIMED_OUT", "the driver said nothing")) for answer in answers.found]
        return [answer or Answered(None) for answer in answers.found]

    def _serve(self) -> None:
        """The driver calls back from here alone."""
        while not self._is_closing.is_set():
            self._poll(POLL_SECONDS)
        self._producer.purge()  # events of attempts that nobody waits for any more
        while len(self._producer) and self._poll(POLL_SECONDS):
            pass
        del self._producer  # its end waits for the driver's threads: not in the event loop

    def _poll(self, seconds: float) -> int:
        try:
            return int(self._producer.poll(seconds))
        except self._errors as error:  # the driver tells fatal errors by raising them here
            self.is_broken = True
            self.connection = _fault(error)
        except Exception:
            _logger.exception("kafka: an answer of the driver could not be taken")
        return 1

    def _noticed(self, error: Any) -> None:
        found = Fault(error.name(), error.str())
        if found.name != "_ALL_BROKERS_DOWN" or self.connection is None:  # why they are says more
            self.connection = found

    def _seen(self, fault: Fault) -> Fault:
        self.is_broken = self.is_broken or fault.name == "_FATAL"
        return fault

    async def close(self) -> None:
        """What is not delivered by now is given up. Safe to call twice."""
        self._is_closing.set()
        await asyncio.to_thread(self._thread.join)


class _Answers:
    """Filled from the event loop and from the producer's thread."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.found: list[Answered | None] = [None] * count
        self.complete: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._lock = threading.Lock()
        self._missing = count

    def report(self, place: int, producer: Producer) -> Any:
        def delivered(error: Any, _entry: Any) -> None:
            if error is None:
                producer.connection = None
            self.put(place, Answered(None if error is None else Fault(error.name(), error.str())))

        return delivered

    def put(self, place: int, answer: Answered) -> None:
        with self._lock:
            self.found[place] = answer
            self._missing -= 1
            is_complete = not self._missing
        if is_complete:
            try:
                self._loop.call_soon_threadsafe(self._finish)
            except RuntimeError:
                return  # the loop is closed: nobody waits

    def _finish(self) -> None:
        if not self.complete.done():
            self.complete.set_result(None)


def _fault(error: BaseException) -> Fault:
    """Of the driver's exception, whose argument is its error."""
    inner = error.args[0] if error.args else error
    return (
        Fault(inner.name(), inner.str()) if hasattr(inner, "name") and hasattr(inner, "str") else Fault("", str(error))
    )
