"""Secret settings: encrypted where they are kept, masked where they are shown.

>>> masked("dsn", "postgresql://ada:geheim@db.example:5432/events?sslmode=require")
'postgresql://ada:***@db.example:5432/events?sslmode=require'
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.errors import ConfigError

MASK: Final = "***"
_VERSION: Final = "1"
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"headrace: settings of warehouses"
"""For those of destinations too, which `Owner` keeps apart; another text would be another key."""
_SHORTEST: Final = 4
"""Parts of a secret that are shorter are not searched for in texts: they would be found in every word."""
_SHORTEST_OF_ENTRY: Final = 8
"""The same for the entries of an object whose names do not say that they are secret."""
_SHORTEST_OF_PATH: Final = 16
"""The same for the parts of an address's path, most of which are ordinary words."""

_ADDRESS_NAMES: Final = re.compile(r"(.*_)?(dsn|uri|url)")
_SECRET_NAMES: Final = re.compile(r"key|secret|password|token|credential", re.IGNORECASE)
"""Within a secret object, and among the parameters of an address."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PLACE: Final = re.compile(r"[A-Za-z0-9.,:_\[\]%-]*")
_USER: Final = re.compile(r"[^\s:@/?#]*")
_PATH: Final = re.compile(r"[^\s:@?#]*")
_KEYWORD: Final = re.compile(r"\s*([a-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s'\\]+)(?=\s|$)")
_SHOWN: Final = frozenset(
    ("host", "hostaddr", "port", "user", "dbname", "database", "sslmode", "connect_timeout", "application_name",
     "target_session_attrs", "warehouse", "schema", "role", "region", "secure", "compression")
)  # fmt: skip
"""Parameters of an address that are no secret."""


class Owner(NamedTuple):
    """Whose the settings are: a warehouse or a destination."""

    room: str
    slug: str

    def bound(self) -> bytes:
        """What is authenticated beside the settings. Of a warehouse the slug alone, as the first release had it; no slug has a `/`."""
        return (self.slug if self.room == "warehouse" else f"{self.room}/{self.slug}").encode()


def sealed(secret: bytes, owner: Owner, settings: Mapping[str, Any]) -> str:
    """The settings encrypted (AES-256-GCM) under a key derived from the workspace's secret and bound to their owner: a
    text that is moved to another one does not open there."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - 0.1 s that the collector does not need

    nonce = secrets.token_bytes(_NONCE_BYTES)
    text = json.dumps(dict(settings)).encode()
    return f"{_VERSION}.{base64.b64encode(nonce + AESGCM(_key(secret)).encrypt(nonce, text, owner.bound())).decode()}"


def opened(secret: bytes, owner: Owner, text: str) -> dict[str, Any]:
    """What was sealed. Raises ConfigError when the secret is another one or the text is damaged."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

    version, _, encoded = text.partition(".")
    try:
        kept = base64.b64decode(encoded if version == _VERSION else "", validate=True)
        clear = AESGCM(_key(secret)).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], owner.bound())
    except (InvalidTag, ValueError):
        raise ConfigError(
            f"{owner.room}: the secrets of {owner.slug} do not open with this folder's secret.key; restore the one that belongs to "
            f"workspace.db, or give all of them again: headrace {owner.room} set {owner.slug} KEY=@FILE ..."
        ) from None
    return dict(json.loads(clear))


def _key(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

    return HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(secret)


def is_secret(value: Any) -> bool:
    """Whether a setting that is not declared secret holds one all the same, or the mask of one: an address with a user or a key in it.

    >>> [is_secret(text) for text in ("https://db.example/x?page=2", "https://ada:geheim@db.example", "https://db.example?api_key=1")]
    [False, True, True]
    """
    if not isinstance(value, str) or "://" not in value:
        return value == MASK
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    names = (parameter.partition("=")[0] for parameter in parts.query.split("&"))
    return "@" in parts.netloc or any(_SECRET_NAMES.search(name) for name in names)


def has_secret_name(name: str) -> bool:
    """Whether a name alone lets one expect a secret."""
    return _SECRET_NAMES.search(name) is not None


def masked(name: str, value: Any, *, with_path: bool = True) -> Any:
    """What may be shown of a secret setting: of an address everything that surely is no secret, of anything else only whether it is set.

    An address of the web may have its secret in its path, as those of chat tools do: then give `with_path=False`."""
    if value is None or value == "":
        return value
    if isinstance(value, str) and _ADDRESS_NAMES.fullmatch(name):
        return _masked_url(value, with_path=with_path) if "://" in value else _masked_keywords(value)
    return MASK


def _masked_url(text: str, *, with_path: bool) -> str:
    """Anything that is not plainly an address is masked whole: an unescaped / or # in a password ends up in its path."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    userinfo, at, place = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if at and not colon and parts.scheme in ("http", "https"):
        user = MASK  # a token alone
    plain = (
        _SCHEME.fullmatch(parts.scheme)
        and _USER.fullmatch(user)
        and _PLACE.fullmatch(place)
        and _PATH.fullmatch(parts.path)
        and not parts.fragment
        and "@" not in parts.query
    )
    if not plain:
        return MASK
    query = "&".join(_masked_parameter(parameter) for parameter in parts.query.split("&")) if parts.query else ""
    path = parts.path if with_path or parts.path in ("", "/") else f"/{MASK}"
    return f"{parts.scheme}://{user}{f':{MASK}' if colon else ''}{at}{place}{path}{'?' if query else ''}{query}"


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if name in _SHOWN and _PLACE.fullmatch(value):
        return parameter
    return f"{name}={MASK}" if equals and re.fullmatch(r"[A-Za-z0-9_.-]+", name) else MASK


def _masked_keywords(text: str) -> str:
    """`host=db user=ada password=...`, as libpq reads it."""
    found, end = [], 0
    for match in _KEYWORD.finditer(text):
        if match.start() != end:
            return MASK
        end = match.end()
        found.append(f"{match[1]}={match[2] if match[1] in _SHOWN else MASK}")
    return " ".join(found) if found and end == len(text.rstrip()) else MASK


def without_secrets(text: str, secret_settings: Mapping[str, Any]) -> str:
    """The text, for example a database's error, with every secret that stands in it masked."""
    parts = {part for name, value in secret_settings.items() for part in _parts(name, value)}
    for part in sorted(parts, key=len, reverse=True):  # a whole address before the password in it
        text = text.replace(part, MASK)
    return text


def _parts(name: str, value: Any) -> Iterator[str]:
    """What of a setting must not be seen in any text."""
    if isinstance(value, Mapping) and "type" not in value:  # a key file says of what type it is, and has usual names
        return (part for key, inner in value.items() for part in _parts_of_entry(key, inner))
    return (part for part in _every_part(name, value) if len(part) >= _SHORTEST)


def _parts_of_entry(key: str, value: Any) -> Iterator[str]:
    """Of a setting that is a secret object, such as headers and variables: nobody knows which of its entries are the secret ones."""
    shortest = _SHORTEST if _SECRET_NAMES.search(key) else _SHORTEST_OF_ENTRY
    if key in _SHOWN or not isinstance(value, str):
        return
    for part in (
        *_every_part(key.lower(), value),
        *value.split(),
    ):  # `Bearer` and the token, of which a tool may repeat the token alone
        if len(part) >= shortest:
            yield part


def _every_part(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _SECRET_NAMES.search(key):
                yield from _every_part(key, inner)
    elif isinstance(value, str):
        if value.lstrip().startswith("{"):  # a service account's key file
            with contextlib.suppress(ValueError):
                yield from _every_part(name, json.loads(value))
        yield value
        yield value.strip()
        yield from value.splitlines()  # a key in PEM form, of which an error may quote one line
        if _ADDRESS_NAMES.fullmatch(name):
            yield from _parts_of_address(value)


def _parts_of_address(text: str) -> Iterator[str]:
    for match in _KEYWORD.finditer(text):
        if match[1] not in _SHOWN:
            inner = match[2].strip("'")
            yield from (inner, re.sub(r"\\(.)", r"\1", inner))
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    yield from (password, unquote(password))
    if parts.scheme in ("http", "https"):
        yield from (part for part in parts.path.split("/") if len(part) >= _SHORTEST_OF_PATH)
    for key, inner in parse_qsl(parts.query):
        if key not in _SHOWN:
            yield inner
