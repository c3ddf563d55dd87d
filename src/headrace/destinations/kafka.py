"""Kafka: each event as an entry of a topic, with its key and headers. docs/destinations/kafka.md is its manual.

The driver is confluent-kafka (librdkafka); its settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from headrace.destinations._kafka_errors import Fault, of_fault
from headrace.destinations._kafka_producer import Answered, Produced, Producer
from headrace.destinations._segment_json import moment
from headrace.destinations.base import (
    DELIVERED,
    Batching,
    DestinationKind,
    DestinationSettings,
    Exchange,
    Http,
    Place,
    Prepared,
    Request,
    Result,
    described,
)
from headrace.errors import ConfigError, RejectedEventError
from headrace.event import Event
from headrace.filters import compile_value

MOST_EVENTS: Final = 1_000
TOPIC_CHARACTERS: Final = 249
"""As the brokers have it, and so the letters below: https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/internals/Topic.java"""
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]+")
_NOT_TOPIC: Final = re.compile(r"[^a-zA-Z0-9._-]")
_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_OURS: Final = frozenset(
    (
        *("acks", "request.required.acks", "enable.idempotence", "message.timeout.ms", "delivery.timeout.ms"),
        *("bootstrap.servers", "metadata.broker.list", "security.protocol", "transactional.id", "log_level", "logger"),
    )
)
_REFUSED: Final = ("sasl.kerberos.", "plugin.", "ssl.engine.", "ssl.provider", "test.")
"""They run commands or load code on the machine of headrace, or have the driver play the brokers itself."""


class KafkaSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    bootstrap_servers: Annotated[str, described("HOST:PORT of a broker, or of several with commas between them.")]
    topic: Annotated[str, described("The topic; `{path}` in it is a field of the event, such as `events.{source}`.")]
    partition_by: Annotated[
        str, described("The field that is the entry's key, so that equal ones keep their order; empty: no key.")
    ] = "userId ?? anonymousId"
    security: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], described("How the brokers are spoken to.")
    ] = "plaintext"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], described("How headrace says who it is, with `sasl_...`.")
    ] = "PLAIN"
    username: Annotated[str, described("For SASL.")] = ""
    password: Annotated[str, described("For SASL.", secret=True)] = ""
    ca_pem: Annotated[
        str, described("The authority that signed the brokers' certificates, as PEM; empty: the system's.")
    ] = ""
    certificate_pem: Annotated[
        str, described("A certificate of headrace's own, as PEM, where brokers ask for one.")
    ] = ""
    certificate_key_pem: Annotated[str, described("The private key of that certificate, as PEM.", secret=True)] = ""
    compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"], described("How entries are compressed on their way.")
    ] = "lz4"
    timeout_seconds: Annotated[
        float, msgspec.Meta(description="An event that no broker has confirmed by then is tried again.", ge=1, le=300)
    ] = 7.0
    client: Annotated[
        dict[str, str | int | float | bool],
        described("Further settings of librdkafka by their names, as an object.", secret=True),
    ] = msgspec.field(default_factory=dict)


class KafkaKind(DestinationKind):
    title = "Kafka"
    summary = "A topic of a Kafka cluster, or of anything that speaks its protocol: each event as JSON, with a key and headers."
    docs_url = "https://kafka.apache.org/documentation/#producerapi"
    tried = "librdkafka's own mock brokers, with their errors; not yet a live cluster, nor SASL or TLS with one"
    setup = (
        "Install the driver: pip install 'headrace[kafka]'.",
        "Make the topic, unless the brokers make topics by themselves.",
        "Let headrace's user write to it and, on brokers before 2.8, give it IdempotentWrite on the cluster.",
    )
    drops_repeats = (
        "The consumer, by the header messageId; the producer's idempotence drops what the driver itself repeats."
    )
    batching = Batching(events=MOST_EVENTS, bytes=4_000_000)
    connects_itself = True
    Settings = KafkaSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for a topic, a key or a setting of the driver that cannot be."""
        super().__init__(settings, place)
        self._own = own = cast("KafkaSettings", settings)
        if not own.bootstrap_servers.strip():
            raise ConfigError("destination: bootstrap_servers must be HOST:PORT of a broker")
        self._topic = topic_of(own.topic)
        self._is_template = "{" in own.topic
        self._key = path_of("partition_by", own.partition_by) if own.partition_by.strip() else None
        self._configuration = configuration(own)
        self._producer: Producer | None = None

    @property
    def time_limit_seconds(self) -> float:
        """The driver looks once a second for events whose time is up."""
        return self._own.timeout_seconds + 5

    async def open(self) -> None:
        self._opened()

    def _opened(self) -> Producer:
        """Raises ConfigError."""
        if self._producer is None:
            self._producer = Producer(self.place.slug, self._configuration)
        return self._producer

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        del http
        results: dict[int, Result] = {}
        produced: dict[int, Produced] = {}
        for place, prepared in enumerate(batch):
            try:
                produced[place] = self._produced(prepared)
            except RejectedEventError as error:
                results[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", str(error))
        try:
            producer = self._opened()
        except ConfigError as error:
            return [Result("failed", "INVALID_SETTINGS", str(error))] * len(batch)
        if produced:
            answers = await producer.produce(list(produced.values()), self._own.timeout_seconds + 2)
            for (place, one), answer in zip(produced.items(), answers, strict=True):
                results[place] = self._result(one, answer, producer.connection, whole=len(produced) > 1)
        if producer.is_broken and producer is self._producer:
            self._producer = None  # the next attempt has a new one
            await producer.close()
        return [results[place] for place in range(len(batch))]

    def _produced(self, prepared: Prepared) -> Produced:
        """Raises RejectedEventError."""
        event = prepared.event
        trees: dict[str, Any] = {}
        key = None if self._key is None else text_of(self._key(event, trees))
        headers = [("messageId", event.message_id), ("type", event.type), ("source", event.source)]
        return Produced(
            self._topic(event, trees),
            key.encode("utf-8", "surrogatepass") if key else None,
            prepared.json(),
            [(name, text.encode("utf-8", "surrogatepass")) for name, text in headers],
        )

    def _result(self, one: Produced, answer: Answered, connection: Fault | None, *, whole: bool) -> Result:
        if answer.fault is None:
            return DELIVERED
        whole = whole and not answer.is_own
        result = of_fault(answer.fault, connection, is_template=self._is_template, whole=whole)
        headers = {name.lower(): value.decode("utf-8", "replace") for name, value in one.headers}
        request = Request("PRODUCE", f"kafka://{self._own.bootstrap_servers}/{one.topic}", headers, one.value)
        return msgspec.structs.replace(result, exchange=Exchange(request, None, result.code, result.detail))

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()


def topic_of(text: str) -> Callable[[Event, dict[str, Any]], str]:
    """A topic for each event; raises RejectedEventError where a hole of it is empty. Raises ConfigError for one that cannot be."""
    holes = [path_of("topic", hole[1]) for hole in _HOLE.finditer(text)]
    texts = _HOLE.split(text)[::2]
    if wrong := [part for part in texts if part and not _TOPIC.fullmatch(part)]:
        raise ConfigError(
            f"destination: topic may have letters, digits, . _ and -, and holes such as {{source}}; {wrong[0][:100]!r} is none of them"
        )
    if not holes and (text in ("", ".", "..") or len(text) > TOPIC_CHARACTERS):
        raise ConfigError(f"destination: topic must have 1 to {TOPIC_CHARACTERS} characters and not be . or ..")

    def topic(event: Event, trees: dict[str, Any]) -> str:
        made = texts[0]
        for hole, rest in zip(holes, texts[1:], strict=True):
            filling = text_of(hole(event, trees))
            if not filling:
                raise RejectedEventError(
                    "topic_unknown", f"the topic {text} needs a field that the event does not have"
                )
            made += _NOT_TOPIC.sub("_", filling) + rest
        made = made[:TOPIC_CHARACTERS]
        return f"_{made}" if made in (".", "..") else made

    return topic if holes else lambda _event, _trees: text


def path_of(setting: str, text: str) -> Callable[[Event, dict[str, Any]], Any]:
    try:
        return compile_value(text).of
    except ConfigError as error:
        raise ConfigError(f"destination: {setting}: {text[:100]!r}: {error}") from None


def text_of(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return moment(value) if isinstance(value, datetime) else msgspec.json.encode(value).decode()


def configuration(own: KafkaSettings) -> dict[str, Any]:
    """What the driver is given. Raises ConfigError for what `client` may not name."""
    for name in own.client:
        if name in _OURS or name.endswith("_cb"):
            raise ConfigError(f"destination: client: {name} is set by headrace itself; take it out")
        if name.startswith(_REFUSED) or own.client[name] == "GSSAPI":
            raise ConfigError(
                f"destination: client: {name} cannot be set, since it would run code on this machine, or reach no broker"
            )
    timeout = round(own.timeout_seconds * 1000)
    with_sasl = own.security.startswith("sasl_")
    with_tls = own.security.endswith("ssl")
    return {
        "client.id": "headrace",
        "compression.type": own.compression,
        "linger.ms": 5,
        "partitioner": "murmur2_random",  # that of Java's clients, so that equal keys meet in the same partition
        "queue.buffering.max.kbytes": 131_072,
        "socket.connection.setup.timeout.ms": 5_000,
        "reconnect.backoff.max.ms": 2_000,  # after an outage the next attempt should find a connection
        "topic.metadata.refresh.interval.ms": 10_000,  # a topic that is made, or allowed, is seen by then; the driver's own are 5 min
        "topic.metadata.propagation.max.ms": max(
            timeout // 2, 500
        ),  # so long a topic may be unknown; it must be within the time limit
        **({"sasl.mechanisms": own.sasl_mechanism, "sasl.username": own.username} if with_sasl else {}),
        **({"sasl.password": own.password} if with_sasl else {}),
        **({"ssl.ca.pem": own.ca_pem} if with_tls and own.ca_pem else {}),
        **({"ssl.certificate.pem": own.certificate_pem} if with_tls and own.certificate_pem else {}),
        **({"ssl.key.pem": own.certificate_key_pem} if with_tls and own.certificate_key_pem else {}),
        **{name: str(value).lower() if isinstance(value, bool) else value for name, value in own.client.items()},
        "bootstrap.servers": own.bootstrap_servers,
        "security.protocol": own.security,
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": timeout,
        "log_level": 2,  # what is wrong with connections stands in the results
    }
