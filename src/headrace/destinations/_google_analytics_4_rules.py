"""The rules of Google Analytics 4 for names, values and times. Pure.

Facts: https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations,
https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names and
https://support.google.com/analytics/answer/9267744 (the longer texts of page_location, page_referrer and page_title).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from headrace.destinations._epoch import epoch_milliseconds, moment_in

MOST_PARAMS: Final = 25
MOST_USER_PROPERTIES: Final = 25
NAME_CHARACTERS: Final = 40
VALUE_CHARACTERS: Final = 100
USER_PROPERTY_NAME: Final = 24
USER_PROPERTY_VALUE: Final = 36
OLDEST: Final = timedelta(hours=72)
_VALUE_CHARACTERS_BY_NAME: Final = {"page_title": 300, "page_referrer": 420, "page_location": 1_000}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_OTHER: Final = re.compile(r"[^A-Za-z0-9]+", re.ASCII)
_CLIENT_ID: Final = re.compile(r"[1-9][0-9]{0,18}\.[1-9][0-9]{0,18}", re.ASCII)
_RESERVED: Final = frozenset(
    (
        *("ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data"),
        *("app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade"),
        *("dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error"),
        *("firebase_campaign", "firebase_in_app_message_action", "firebase_in_app_message_dismiss"),
        *("firebase_in_app_message_impression", "first_open", "first_visit", "notification_dismiss"),
        *("notification_foreground", "notification_open", "notification_receive", "notification_send", "os_update"),
        *("session_start", "user_engagement"),
        # only for streams of apps
        *("ad_impression", "in_app_purchase", "screen_view"),
    )
)
_RESERVED_PARAMS: Final = frozenset(("firebase_conversion",))
_RESERVED_USER_PROPERTIES: Final = frozenset(
    ("first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install")
)
_RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")


def event_name(name: str) -> str:
    """Small letters, and `_` for everything that is no letter or digit.

    >>> event_name("Email Link Clicked")
    'email_link_clicked'
    """
    return _OTHER.sub("_", name.strip()).strip("_").lower()


def client_id(value: str) -> str:
    """The id that gtag.js made as it is; else two numbers made of the value, always the same ones: Google wants numbers, and no addresses.

    >>> client_id("1234567890.1687600000"), client_id("ada@example.com")
    ('1234567890.1687600000', '3053225445.1465252320')
    """
    if _CLIENT_ID.fullmatch(value):
        return value
    digest = sha256(value.encode("utf-8", "surrogatepass")).digest()
    first, second = (int.from_bytes(digest[start : start + 4], "big") or 1 for start in (0, 4))
    return f"{first}.{second}"


def made_event(name: str, fields: Mapping[str, Any], now: datetime) -> tuple[Mapping[str, Any], Sequence[str]] | str:
    """An item of `events` and the names of what had to be left out of it; or why there can be none."""
    if not _NAME.fullmatch(name):
        return f"the event name {name!r} must begin with a letter and have at most {NAME_CHARACTERS} characters"
    if name in _RESERVED:
        return f"the event name {name!r} is reserved by Google Analytics; give it another in the setting event_names"
    made: dict[str, Any] = {"name": name}
    at = moment_in(fields.get("timestamp_micros"))
    if at is not None and now - at > OLDEST:
        hours = int((now - at) / timedelta(hours=1))
        return f"it happened {hours} hours ago; Google Analytics would date what is older than 72 hours to 72 hours ago"
    if at is not None and at <= now:  # the protocol has timestamps for the past only
        made["timestamp_micros"] = epoch_milliseconds(fields["timestamp_micros"]) * 1_000
    elif at is None and "timestamp_micros" in fields:
        made["timestamp_micros"] = fields["timestamp_micros"]
    params, left_out = _params(fields.get("params"))
    if params:
        made["params"] = params
    return made, left_out


def user_properties(given: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    """In the form of the protocol, and the names of those that it would ignore."""
    kept: dict[str, Any] = {}
    left_out = []
    for name, value in _flat(given if isinstance(given, dict) else {}):
        is_long = len(name) > USER_PROPERTY_NAME or (isinstance(value, str) and len(value) > USER_PROPERTY_VALUE)
        is_reserved = name in _RESERVED_USER_PROPERTIES or name.startswith(_RESERVED_PREFIXES)
        if is_long or is_reserved or not _NAME.fullmatch(name) or len(kept) == MOST_USER_PROPERTIES:
            left_out.append(name)
        else:
            kept[name] = {"value": value}
    return kept, left_out


def _params(given: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    kept: dict[str, Any] = {}
    left_out = []
    for name, value in _flat(given if isinstance(given, dict) else {}):
        longest = _VALUE_CHARACTERS_BY_NAME.get(name, VALUE_CHARACTERS)
        fits = _NAME.fullmatch(name) and name not in _RESERVED_PARAMS and not name.startswith(_RESERVED_PREFIXES)
        if not fits or (isinstance(value, str) and len(value) > longest) or len(kept) == MOST_PARAMS:
            left_out.append(name)
        else:
            kept[name] = value
    return kept, left_out


def _flat(values: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, Any]]:
    """Objects become names joined by `_`, lists of texts and numbers one text; null is nothing. `items` are Google's own list."""
    made: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = prefix + (key if key.startswith("_") else _OTHER.sub("_", key).strip("_"))
        if name == "items" and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            made.append((name, value))
        elif isinstance(value, dict):
            made += _flat(value, f"{name}_")
        elif isinstance(value, list):
            made.append((name, ",".join(str(_scalar(item)) for item in value if not isinstance(item, dict | list))))
        elif value is not None:
            made.append((name, _scalar(value)))
    return made


def _scalar(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
