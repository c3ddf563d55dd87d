"""A Kafka cluster in this process: librdkafka's own mock brokers, which speak the protocol on sockets of 127.0.0.1 and can be told to fail.

https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h describes the functions that are called here. The library that
the driver brings is opened a second time by its path, which gives the one that is already loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import confluent_kafka

PRODUCE: Final = 0
"""Numbers of requests: https://kafka.apache.org/protocol.html#protocol_api_keys"""
INIT_PRODUCER_ID: Final = 22

_PRODUCER: Final = 0  # rd_kafka_type_t


def _library() -> ctypes.CDLL:
    (path,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    for name, returns, takes in (
        ("rd_kafka_new", ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (ctypes.c_void_p,)),
        ("rd_kafka_mock_cluster_new", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)),
        ("rd_kafka_mock_cluster_destroy", None, (ctypes.c_void_p,)),
        ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, (ctypes.c_void_p,)),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, (ctypes.c_void_p, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, (ctypes.c_void_p, ctypes.c_int32)),
        ("rd_kafka_mock_topic_set_error", None, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = returns, takes
    return library


class Cluster:
    """One broker, with topics that are made when they are first written to, of four partitions each."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._handle = handle
        self.servers: str = library.rd_kafka_mock_cluster_bootstraps(handle).decode()

    def fail_next(self, request: int, *codes: int) -> None:
        """The next requests of this kind, one for each code, are answered with it."""
        self._library.rd_kafka_mock_push_request_errors(
            ctypes.c_void_p(self._handle),
            ctypes.c_int16(request),
            ctypes.c_size_t(len(codes)),
            *map(ctypes.c_int, codes),
        )

    def refuse_topic(self, topic: str, code: int) -> None:
        self._library.rd_kafka_mock_topic_set_error(self._handle, topic.encode(), code)

    def stop(self) -> None:
        """It hangs up and nobody listens there until `start`."""
        self._library.rd_kafka_mock_broker_set_down(self._handle, 1)

    def start(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._handle, 1)

    def taken(self, topic: str, count: int) -> Sequence[Any]:
        """The first so many of a topic, as a consumer reads them, in the order of the partitions."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.servers, "group.id": "test", "auto.offset.reset": "earliest"}
        )
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, place, 0) for place in range(4)])
            found = consumer.consume(count, timeout=60)
        finally:
            consumer.close()
        assert [None] * count == [one.error() for one in found]
        return sorted(found, key=lambda one: (one.partition(), one.offset()))


@contextmanager
def cluster() -> Iterator[Cluster]:
    library = _library()
    text = ctypes.create_string_buffer(512)
    client = library.rd_kafka_new(_PRODUCER, None, text, len(text))
    assert client, text.value.decode()
    handle = library.rd_kafka_mock_cluster_new(client, 1)
    try:
        yield Cluster(library, handle)
    finally:
        library.rd_kafka_mock_cluster_destroy(handle)
        library.rd_kafka_destroy(client)
