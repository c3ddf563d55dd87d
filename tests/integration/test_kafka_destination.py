"""Kafka over its protocol: the brokers are librdkafka's own mock, which can be stopped and told to fail; what they took is read back."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest

import kafka_cluster
from headrace.destinations._kafka_errors import Fault, connection_code, of_fault
from headrace.destinations.base import CODES, DELIVERED, DestinationKind, Http, Place, Prepared, Result, configured
from headrace.errors import ConfigError
from kafka_cluster import INIT_PRODUCER_ID, PRODUCE, Cluster
from segment_events import event_of

NO_HTTP: Final = cast("Http", None)
PLACE: Final = Place("mine", Path("unused"))
OUT_OF_ORDER_SEQUENCE_NUMBER: Final = 45
"""Numbers of errors: https://kafka.apache.org/protocol.html#protocol_error_codes"""
CLUSTER_AUTHORIZATION_FAILED: Final = 31
TOPIC_AUTHORIZATION_FAILED: Final = 29
UNKNOWN_TOPIC: Final = 3
NOT_LEADER: Final = 6
NOT_ENOUGH_REPLICAS: Final = 19
TOO_LARGE: Final = 10
THROTTLED: Final = 89


@pytest.fixture(scope="module")
def brokers() -> Iterator[Cluster]:
    with kafka_cluster.cluster() as cluster:
        yield cluster


def event(identity: str = "m-1", **fields: Any) -> Prepared:
    sent = {"type": "track", "event": "Email Opened", "messageId": identity, "userId": "u-1", **fields}
    return Prepared(event_of(sent))


def kind_of(servers: str, topic: str, **settings: Any) -> DestinationKind:
    given = {"bootstrap_servers": servers, "topic": topic, "timeout_seconds": 30, **settings}
    return configured("kafka", given, PLACE)


def run(kind: DestinationKind, steps: Callable[[], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        try:
            return await steps()
        finally:
            await kind.close()

    return asyncio.run(whole())


async def until_delivered(kind: DestinationKind, prepared: Prepared) -> None:
    while list(await kind.send([prepared], NO_HTTP)) != [DELIVERED]:
        pass


def sent(kind: DestinationKind, *batch: Prepared) -> Sequence[Result]:
    results = cast("Sequence[Result]", run(kind, lambda: kind.send(batch, NO_HTTP)))
    assert len(batch) == len(results)
    assert {result.code for result in results} <= {"", *CODES}
    return results


class TestWhatTheBrokersTake:
    def test_each_event_once_in_segments_form_with_its_key_and_headers(self, brokers: Cluster) -> None:
        events = [event(f"m-{place}", userId=None if place % 2 else "u", anonymousId="a") for place in range(50)]
        assert [DELIVERED] * 50 == list(sent(kind_of(brokers.servers, "whole"), *events))
        taken = brokers.taken("whole", 50)
        assert {f"m-{place}" for place in range(50)} == {json.loads(one.value())["messageId"] for one in taken}
        assert {(f"m-{place}", b"a" if place % 2 else b"u") for place in range(50)} == {
            (json.loads(one.value())["messageId"], one.key()) for one in taken
        }
        (first,) = [one for one in taken if json.loads(one.value())["messageId"] == "m-0"]
        assert [("messageId", b"m-0"), ("type", b"track"), ("source", b"selligent")] == first.headers()
        assert json.loads(events[0].json()) == json.loads(first.value())
        assert "Email Opened" == json.loads(first.value())["event"]

    def test_equal_keys_keep_their_order(self, brokers: Cluster) -> None:
        """The control is the order over all keys, which partitions do not keep."""
        order = [f"m-{place:02}" for place in range(40)]
        events = [event(identity, userId=f"u-{int(identity[2:]) % 5}") for identity in order]
        sent(kind_of(brokers.servers, "ordered"), *events)
        taken = [(one.key(), json.loads(one.value())["messageId"]) for one in brokers.taken("ordered", 40)]
        for key in {key for key, _ in taken}:
            own = [identity for other, identity in taken if other == key]
            assert sorted(own) == own
        assert order != [identity for _, identity in taken]

    def test_mapped_fields_another_key_and_a_topic_for_each_event(self, brokers: Cluster) -> None:
        kind = kind_of(brokers.servers, "mail.{event}", partition_by="properties.campaign", batch_events=10)
        mapped = Prepared(event(properties={"campaign": 7}).event, {"email": "ada@example.com"})
        assert [DELIVERED, DELIVERED] == list(sent(kind, mapped, event("m-2", event="Sent/now")))
        (one,) = brokers.taken("mail.Email_Opened", 1)
        assert (b"7", b'{"email":"ada@example.com"}') == (one.key(), one.value())
        (other,) = brokers.taken("mail.Sent_now", 1)
        assert other.key() is None

    def test_attempts_at_the_same_time_do_not_mix(self, brokers: Cluster) -> None:
        kind = kind_of(brokers.servers, "mixed")
        big = event("big", properties={"x": "x" * 2_000_000})

        async def steps() -> list[list[str]]:
            batches = [[event(f"m-{n}-{place}") for place in range(20)] for n in range(8)]
            batches[3][7] = big
            found = await asyncio.gather(*(kind.send(batch, NO_HTTP) for batch in batches))
            return [[result.code for result in results] for results in found]

        expected = [[""] * 20 for _ in range(8)]
        expected[3][7] = "MESSAGE_REJECTED"
        assert expected == run(kind, steps)


class TestWhatBrokersRefuse:
    def test_what_passes_is_repeated_by_the_driver_and_taken_once(self, brokers: Cluster) -> None:
        brokers.fail_next(PRODUCE, NOT_LEADER, NOT_ENOUGH_REPLICAS)
        assert [DELIVERED] == list(sent(kind_of(brokers.servers, "passing"), event()))
        assert 1 == len(brokers.taken("passing", 1))

    def test_an_event_that_is_too_large_fails_alone(self, brokers: Cluster) -> None:
        big = event("big", properties={"x": "x" * 2_000_000})
        before, refused, after = sent(kind_of(brokers.servers, "large"), event("a"), big, event("b"))
        assert (DELIVERED, DELIVERED) == (before, after)
        assert ("failed", "MESSAGE_REJECTED", False) == (refused.outcome, refused.code, refused.is_whole_request)
        assert refused.detail.startswith("MSG_SIZE_TOO_LARGE: ")
        assert refused.exchange is not None
        assert f"kafka://{brokers.servers}/large" == refused.exchange.request.url

    def test_events_that_a_broker_refuses_together_are_to_be_tried_alone(self, brokers: Cluster) -> None:
        kind = kind_of(brokers.servers, "together", client={"linger.ms": 50})

        async def steps() -> None:
            await kind.send([event()], NO_HTTP)  # so that the partitions are known
            brokers.fail_next(PRODUCE, TOO_LARGE)
            results = await kind.send([event("a"), event("b")], NO_HTTP)
            assert [("failed", "MESSAGE_REJECTED", True)] * 2 == [
                (result.outcome, result.code, result.is_whole_request) for result in results
            ]
            brokers.fail_next(PRODUCE, TOO_LARGE)
            (alone,) = await kind.send([event("a")], NO_HTTP)
            assert ("failed", "MESSAGE_REJECTED", False) == (alone.outcome, alone.code, alone.is_whole_request)
            brokers.fail_next(PRODUCE, THROTTLED)
            (limited,) = await kind.send([event("a")], NO_HTTP)
            assert ("retry", "429") == (limited.outcome, limited.code)

        run(kind, steps)

    def test_a_topic_that_is_not_there_or_not_allowed_is_found_again_once_it_is(self, brokers: Cluster) -> None:
        quick = {"topic.metadata.refresh.interval.ms": 50, "topic.metadata.propagation.max.ms": 500}
        settings: dict[str, Any] = {"timeout_seconds": 8, "client": quick}
        kinds = [kind_of(brokers.servers, topic, **settings) for topic in ("absent", "of-{type}", "denied")]
        brokers.refuse_topic("absent", UNKNOWN_TOPIC)
        brokers.refuse_topic("of-track", UNKNOWN_TOPIC)
        brokers.refuse_topic("denied", TOPIC_AUTHORIZATION_FAILED)

        async def codes() -> list[str]:
            found = await asyncio.gather(*(kind.send([event()], NO_HTTP) for kind in kinds))
            return [results[0].code for results in found]

        async def steps() -> None:
            assert ["INVALID_SETTINGS", "BAD_REQUEST", "INVALID_AUTHENTICATION"] == await codes()
            for topic in ("absent", "of-track", "denied"):
                brokers.refuse_topic(topic, 0)
            while await codes() != ["", "", ""]:  # noqa: ASYNC110 -- the driver asks the brokers when it sees fit
                await asyncio.sleep(0.02)
            for kind in kinds:
                await kind.close()

        run(kinds[0], steps)

    @pytest.mark.parametrize(
        ("request_number", "code", "outcome"),
        [
            (PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER, ("retry", "SERVER_ERROR")),
            (INIT_PRODUCER_ID, CLUSTER_AUTHORIZATION_FAILED, ("failed", "INVALID_AUTHENTICATION")),
        ],
    )
    def test_after_the_driver_gave_up_the_next_attempt_has_a_new_one(
        self, brokers: Cluster, request_number: int, code: int, outcome: tuple[str, str]
    ) -> None:
        kind = kind_of(brokers.servers, f"fatal-{code}")

        async def steps() -> None:
            brokers.fail_next(request_number, code)
            (result,) = await kind.send([event()], NO_HTTP)
            assert outcome == (result.outcome, result.code)
            assert [DELIVERED] == list(await kind.send([event()], NO_HTTP))

        run(kind, steps)


class TestConnections:
    def test_each_reason_has_its_code_and_an_outage_ends_by_itself(self, brokers: Cluster) -> None:
        with socket.socket() as closed, socket.socket() as silent, kafka_cluster.cluster() as own:
            closed.bind(("127.0.0.1", 0))
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            outage = kind_of(own.servers, "t-{messageId}", timeout_seconds=6)
            kinds = {
                "ECONNREFUSED": kind_of(f"127.0.0.1:{closed.getsockname()[1]}", "t", timeout_seconds=6),
                "ETIMEDOUT": kind_of(f"127.0.0.1:{silent.getsockname()[1]}", "t", timeout_seconds=1),
                "ENOTFOUND": kind_of("no-such-host.invalid:9092", "t", timeout_seconds=6),
                "ETLS": kind_of(brokers.servers, "t", timeout_seconds=6, security="ssl"),
                "INVALID_AUTHENTICATION": kind_of(
                    brokers.servers, "t", timeout_seconds=6, security="sasl_plaintext", username="a", password="b"
                ),
            }

            async def steps() -> None:
                await until_delivered(outage, event())
                own.stop()
                found = await asyncio.gather(*(kind.send([event()], NO_HTTP) for kind in (*kinds.values(), outage)))
                assert [*kinds, "ECONNREFUSED"] == [results[0].code for results in found]
                outcomes = {results[0].code: results[0].outcome for results in found}
                assert "failed" == outcomes.pop("INVALID_AUTHENTICATION")
                assert {"retry"} == set(outcomes.values())
                own.start()
                await until_delivered(outage, event("m-2"))
                await asyncio.gather(*(kind.close() for kind in kinds.values()))

            run(outage, steps)
            (taken,) = own.taken("t-m-2", 1)
            assert "m-2" == json.loads(taken.value())["messageId"]

    def test_closing_gives_up_what_is_under_way(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            kind = kind_of(f"127.0.0.1:{silent.getsockname()[1]}", "t", timeout_seconds=300)

            async def steps() -> None:
                attempt = asyncio.create_task(cast("Any", kind.send([event()], NO_HTTP)))
                await asyncio.sleep(0)
                await kind.close()
                (result,) = await attempt
                assert ("retry", "ECONNRESET") == (result.outcome, result.code)
                await kind.close()

            run(kind, steps)


class TestErrors:
    """What the mock brokers do not say."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("SASL_AUTHENTICATION_FAILED", ("failed", "INVALID_AUTHENTICATION")),
            ("INVALID_RECORD", ("failed", "MESSAGE_REJECTED")),
            ("_INVALID_DIFFERENT_RECORD", ("retry", "SERVER_ERROR")),
            ("INVALID_REPLICATION_FACTOR", ("failed", "BAD_REQUEST")),
            ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", ("retry", "SERVER_ERROR")),
            ("REQUEST_TIMED_OUT", ("retry", "ETIMEDOUT")),
            ("SOMETHING_NEW", ("retry", "SERVER_ERROR")),
        ],
    )
    def test_names_of_errors_have_their_outcomes(self, name: str, expected: tuple[str, str]) -> None:
        result = of_fault(Fault(name, "text" * 1_000))
        assert (*expected, 1_000) == (result.outcome, result.code, len(result.detail))

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (Fault("_TRANSPORT", "Connect to ipv4#10.0.0.1:9092 failed: Connection timed out"), "ETIMEDOUT"),
            (
                Fault("_TRANSPORT", "ssl://h:9093/1: Connect to ipv4#10.0.0.1:9093 failed: Connection refused"),
                "ECONNREFUSED",
            ),
            (Fault("_SSL", "certificate verify failed"), "ETLS"),
            (Fault("_TRANSPORT", "Disconnected while requesting ApiVersion"), "ECONNRESET"),
        ],
    )
    def test_the_text_says_what_is_wrong_with_a_connection(self, fault: Fault, code: str) -> None:
        assert code == connection_code(fault)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"topic": ""}, "1 to 249"),
            ({"topic": ".."}, "1 to 249"),
            ({"topic": "x" * 250}, "1 to 249"),
            ({"topic": "e mail"}, "'e mail'"),
            ({"topic": "mail.{event"}, "is none of them"),
            ({"topic": "mail.{no such}"}, "no such"),
            ({"partition_by": "user id"}, "user id"),
            ({"bootstrap_servers": " "}, "HOST:PORT"),
            ({"client": {"acks": "1"}}, "acks is set by headrace"),
            ({"client": {"sasl.kerberos.kinit.cmd": "id"}}, "run code"),
            ({"client": {"plugin.library.paths": "x.so"}}, "run code"),
        ],
        ids=str,
    )
    def test_those_that_cannot_work_are_refused_at_once(self, settings: dict[str, Any], word: str) -> None:
        with pytest.raises(ConfigError, match=word):
            configured("kafka", {"bootstrap_servers": "h:9092", "topic": "t", **settings}, PLACE)

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"client": {"no.such": 1}}, "No such configuration property"),
            ({"security": "ssl", "ca_pem": "no certificate"}, "ssl.ca.pem"),
            ({"security": "sasl_ssl"}, "sasl.username and sasl.password must be set"),
        ],
        ids=str,
    )
    def test_those_that_the_driver_refuses_are_told_in_its_words(self, settings: dict[str, Any], word: str) -> None:
        kind = kind_of("h:9092", "t", **settings)
        with pytest.raises(ConfigError, match=f"destination mine: kafka: .*{word}"):
            run(kind, kind.open)
        (result,) = sent(kind, event())
        assert ("failed", "INVALID_SETTINGS") == (result.outcome, result.code)

    def test_a_missing_driver_is_named_with_how_to_install_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "confluent_kafka", None)
        kind = kind_of("h:9092", "t")
        with pytest.raises(ConfigError, match=r"pip install 'headrace\[kafka\]'"):
            run(kind, kind.open)

    def test_an_event_without_the_field_of_its_topic_fails_alone(self, brokers: Cluster) -> None:
        kind = kind_of(brokers.servers, "by-{properties.shop}")
        lost, found = sent(kind, event("a"), event("b", properties={"shop": "north"}))
        assert ("failed", "PAYLOAD_VALIDATION_FAILED") == (lost.outcome, lost.code)
        assert DELIVERED == found
        assert 1 == len(brokers.taken("by-north", 1))
