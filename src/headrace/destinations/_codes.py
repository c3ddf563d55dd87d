"""What can become of an event on its way to a destination: one table for the console, the docs and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

OutcomeName = Literal["delivered", "filtered", "retrying", "failed"]

_SEGMENT: Final = "https://segment.com/docs/connections/event-delivery/"
_HTTP: Final = "https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Status/"


class Code(NamedTuple):
    """`outcome` is what an event with this code has come to, where nothing else follows from it: `retrying` ones become `failed`
    with the same code when the horizon ends. `link` says more."""

    title: str
    description: str
    remedy: str
    link: str
    outcome: OutcomeName = "failed"


CODES: Final[Mapping[str, Code]] = {
    "FILTERED_BY_INTEGRATIONS_OBJECT": Code(
        "Switched off by the event itself",
        "The event's `integrations` object says that this destination shall not have it.",
        "Nothing, if that is meant. Else change `integrations` where the event is sent; names are the catalogue's titles, case-sensitive.",
        "https://segment.com/docs/connections/spec/common/#integrations",
        "filtered",
    ),
    "FILTERED_BY_RULES": Code(
        "Left out by the destination's filter",
        "The destination's filter, or its sample, does not take this event.",
        "Nothing, if that is meant. Else change the setting `filter` or `sample_percent`; what was left out can be replayed.",
        "docs/filters.md",
        "filtered",
    ),
    "UNSUPPORTED_EVENT_TYPE": Code(
        "A type of event that this tool does not take",
        "The tool has no use for events of this type.",
        "Nothing. The catalogue says which types it takes.",
        _SEGMENT,
        "filtered",
    ),
    "NO_MATCHING_MAPPING": Code(
        "No mapping for this type of event",
        "The mapping has no fields for events of this type.",
        "Nothing, if that is meant. Else give the setting `mapping` fields for the type.",
        "docs/destinations.md#mapping",
        "filtered",
    ),
    "FILTER_FAILED": Code(
        "The filter could not be evaluated",
        "The event's properties could not be read, so nobody can say whether the filter takes it. It is kept.",
        "Look at the event; change the filter, then replay the dead letter.",
        "docs/filters.md",
    ),
    "INVALID_SETTINGS": Code(
        "The destination's settings do not work",
        "A setting is missing or wrong, or its address is one that headrace must not reach.",
        "Correct the setting with `headrace destination set`; what failed meanwhile is then sent again by itself.",
        _SEGMENT,
    ),
    "ADDRESS_REFUSED": Code(
        "An address that headrace must not reach",
        "The host's name leads to a private, loopback or otherwise reserved address.",
        "Use a public address; an operator can allow a network with HEADRACE_ALLOWED_NETWORKS. What failed is then sent again by itself.",
        "docs/destinations.md#addresses",
    ),
    "INVALID_AUTHENTICATION": Code(
        "The tool does not accept the key",
        "The tool answered 401 or 403: the key or secret is wrong, has expired or may not do this.",
        "Give a valid key with `headrace destination set`; what failed meanwhile is then sent again by itself.",
        _HTTP + "401",
    ),
    "PAYLOAD_VALIDATION_FAILED": Code(
        "The event lacks what the tool needs",
        "A field that the tool requires is missing or has the wrong form.",
        "Look at the sample; correct the event where it is sent, or the mapping, then replay the dead letter.",
        "docs/destinations.md#mapping",
    ),
    "MESSAGE_REJECTED": Code(
        "The tool refused this event",
        "The tool took the request and refused this event in it.",
        "The sample shows the tool's reason. Correct the event or the mapping, then replay the dead letter.",
        _SEGMENT,
    ),
    "BAD_REQUEST": Code(
        "The tool refused the request",
        "The tool answered with a 4xx that will not change by itself.",
        "The sample shows the request and the answer. Correct the mapping or the settings, then replay the dead letter.",
        _HTTP + "400",
    ),
    "REDIRECTED": Code(
        "The tool answered with a redirect",
        "Redirects are not followed, so that nobody can be led to another address.",
        "Give the final address in the settings, then replay the dead letter.",
        _HTTP + "301",
    ),
    "410": Code(
        "The address is gone",
        "The tool answered 410 Gone. The destination is disabled; its events wait.",
        "Ask the tool's owner for the new address, set it, and run `headrace destination resume`.",
        _HTTP + "410",
        "retrying",
    ),
    "429": Code(
        "Too many requests",
        "The tool limits its rate. headrace waits as long as it asks and goes on by itself.",
        "Nothing, if it is rare. Else lower `requests_per_second`, or send larger batches.",
        _HTTP + "429",
        "retrying",
    ),
    "502": Code(
        "The tool's gateway found nobody behind it",
        "The tool answered 502. headrace tries again by itself.",
        "Look at the tool's status page if it lasts.",
        _HTTP + "502",
        "retrying",
    ),
    "503": Code(
        "The tool is not available",
        "The tool answered 503. headrace tries again by itself.",
        "Look at the tool's status page if it lasts.",
        _HTTP + "503",
        "retrying",
    ),
    "SERVER_ERROR": Code(
        "The tool has an error of its own",
        "The tool answered with another 5xx, or 408, 423 or 425. headrace tries again by itself.",
        "The sample shows the answer. Look at the tool's status page if it lasts.",
        _HTTP + "500",
        "retrying",
    ),
    "ETIMEDOUT": Code(
        "The tool did not answer in time",
        "No connection within 5 seconds, or no complete answer within 10. headrace tries again by itself; the tool may have taken the request.",
        "Look at the tool if it lasts.",
        _SEGMENT,
        "retrying",
    ),
    "ECONNREFUSED": Code(
        "Nobody listens there",
        "The connection was refused. headrace tries again by itself.",
        "Start the tool, or correct the address.",
        _SEGMENT,
        "retrying",
    ),
    "ECONNRESET": Code(
        "The connection was cut",
        "The connection ended before the answer was complete. headrace tries again by itself; the tool may have taken the request.",
        "Look at the tool, and at what stands between, if it lasts.",
        _SEGMENT,
        "retrying",
    ),
    "ENOTFOUND": Code(
        "The host's name is unknown",
        "No address was found for the name. headrace tries again by itself.",
        "Correct the address, or look at the name servers.",
        _SEGMENT,
        "retrying",
    ),
    "ETLS": Code(
        "No secure connection",
        "The tool's certificate is wrong, has expired or belongs to another name, or there is no TLS at all. headrace tries again by itself.",
        "Have the certificate mended, or correct the address.",
        "docs/destinations.md#addresses",
        "retrying",
    ),
    "ANSWER_UNREADABLE": Code(
        "An answer that cannot be read",
        "The tool's answer is no HTTP, or not what the tool documents. headrace tries again by itself.",
        "Look at the sample; correct the address if it is another program that answers.",
        _SEGMENT,
        "retrying",
    ),
    "WAITING_FOR_EARLIER": Code(
        "Waits for an earlier event of the same user",
        "This destination keeps the order per user, and an earlier event of this user has not gone through yet.",
        "Look at the earlier event.",
        "docs/destinations.md#order",
        "retrying",
    ),
    "TIME_LIMIT": Code(
        "The function took too long",
        "The user's own function did not end within its time limit; its process was ended and started anew.",
        "Make it faster, or raise `timeout_seconds`.",
        "docs/destinations/python.md",
        "retrying",
    ),
    "FUNCTION_FAILED": Code(
        "The function raised an error",
        "The user's own function raised an error for this event.",
        "The sample shows the error. Mend the function, then replay the dead letter.",
        "docs/destinations/python.md",
    ),
    "FUNCTION_RETRY": Code(
        "The function asked to be called again",
        "The user's own function said, or raised an error that says, that the same may succeed later. headrace calls it again by itself.",
        "Look at what the function waits for, if it lasts.",
        "docs/destinations/python.md",
        "retrying",
    ),
    "PROCESS_ENDED": Code(
        "The function's process ended",
        "The process of the user's own function ended in the middle of a call. headrace starts a new one and calls it again by itself.",
        "Look for exits, crashes and memory in the function; its output is in the worker's log.",
        "docs/destinations/python.md",
        "retrying",
    ),
    "LOST": Code(
        "No longer in the log",
        "The event left the log, or its file was damaged, before this destination could read it; the archive does not have it either.",
        "Give the log more room (`log.max_bytes`, `log.retention_bytes`), or enable the archive.",
        "docs/archive.md",
    ),
    "INTERNAL": Code(
        "A fault of headrace itself",
        "Something unforeseen happened on the way to the tool; the log of the worker has the details. The event is kept.",
        "Report it, with the log's lines; then replay the dead letter.",
        _SEGMENT,
    ),
}

CONFIGURATION_CODES: Final = frozenset(("INVALID_SETTINGS", "ADDRESS_REFUSED", "INVALID_AUTHENTICATION"))
"""The destination is set up wrongly: events fail with these whatever they hold, and are sent again once it works."""
