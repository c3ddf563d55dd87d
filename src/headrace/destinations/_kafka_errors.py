"""What the driver or a broker says of an event -> its result. Pure.

Names of errors are those of https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html (rd_kafka_resp_err_t); those
that begin with `_` are the driver's own, the others the brokers': https://kafka.apache.org/protocol.html#protocol_error_codes
The driver itself repeats what a broker calls passing until the time limit, so that what is not listed here may as well succeed later.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.destinations.base import Result

DETAIL_CHARACTERS: Final = 1_000

_DENIED: Final = frozenset(
    (
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    )
)
_NO_TOPIC: Final = frozenset(("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "TOPIC_EXCEPTION"))
_REFUSED_EVENT: Final = frozenset(
    (
        "MSG_SIZE_TOO_LARGE",
        "RECORD_LIST_TOO_LARGE",
        "INVALID_RECORD",
        "_INVALID_DIFFERENT_RECORD",
        "INVALID_MSG_SIZE",
        "INVALID_TIMESTAMP",
        "POLICY_VIOLATION",
    )
)
_REFUSED_REQUEST: Final = frozenset(
    (
        "INVALID_CONFIG",
        "INVALID_PARTITIONS",
        "INVALID_REPLICATION_FACTOR",
        "INVALID_REQUEST",
        "INVALID_REQUIRED_ACKS",
        "SECURITY_DISABLED",
        "UNSUPPORTED_COMPRESSION_TYPE",
        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        "UNSUPPORTED_SASL_MECHANISM",
        "UNSUPPORTED_VERSION",
    )
)
_TIME_IS_UP: Final = frozenset(("_MSG_TIMED_OUT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "REQUEST_TIMED_OUT"))
_CUT_OFF: Final = frozenset(("_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL", "_DESTROY"))


class Fault(NamedTuple):
    """An error by its name and in its own words."""

    name: str
    text: str


def of_fault(
    fault: Fault, connection: Fault | None = None, *, is_template: bool = False, whole: bool = False
) -> Result:
    """`connection` is what was last wrong with the connections or the driver, since an event that waited too long does not know why;
    `is_template` where each event has a topic of its own, `whole` where the event stood among others."""
    name, detail = fault.name, f"{fault.name}: {fault.text}"[:DETAIL_CHARACTERS]
    if name in _DENIED:
        return Result("failed", "INVALID_AUTHENTICATION", detail)
    if name in _NO_TOPIC:
        return Result("failed", "BAD_REQUEST" if is_template else "INVALID_SETTINGS", detail)
    if name == "_INVALID_DIFFERENT_RECORD" and not whole:
        return Result("retry", "SERVER_ERROR", detail)  # the neighbour that was refused came with another attempt
    if name in _REFUSED_EVENT:
        return Result("failed", "MESSAGE_REJECTED", detail, is_whole_request=whole)
    if name in _REFUSED_REQUEST:
        return Result("failed", "BAD_REQUEST", detail, is_whole_request=whole)
    if name == "THROTTLING_QUOTA_EXCEEDED":
        return Result("retry", "429", detail)
    if connection is not None and name in _TIME_IS_UP | _CUT_OFF:
        return of_fault(connection)
    if name in _TIME_IS_UP:
        return Result("retry", "ETIMEDOUT", detail)
    return Result("retry", connection_code(fault), detail)


def connection_code(fault: Fault) -> str:
    """The driver tells a refused from a lost connection, and TLS from what is below it, by its text alone."""
    if fault.name == "_RESOLVE":
        return "ENOTFOUND"
    if fault.name == "_SSL" or "SSL handshake" in fault.text or "SSL_HANDSHAKE" in fault.text:
        return "ETLS"
    if fault.name in ("_TRANSPORT", "_ALL_BROKERS_DOWN"):
        if "Connection refused" in fault.text:
            return "ECONNREFUSED"
        return "ETIMEDOUT" if "timed out" in fault.text else "ECONNRESET"
    return "ECONNRESET" if fault.name in _CUT_OFF else "SERVER_ERROR"
