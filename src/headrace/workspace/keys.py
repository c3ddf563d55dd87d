"""Write keys: made, stored as a digest, found again by the collector. The clear text is never stored and never logged."""

from __future__ import annotations

import base64
import hmac
import secrets
import string
from collections.abc import Iterable
from typing import Final

from headrace.workspace.records import Source

PREFIX: Final = "hr_"
_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 22  # 62^22 > 2^130
_LONGEST: Final = 256  # nobody's key is longer; a hostile one shall not cost a digest of megabytes


def new_key() -> str:
    """A write key of 130 random bits: only letters, digits and `_`, so it fits URLs, Basic (no colon) and shells."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def _digest(secret: bytes, key: str) -> bytes:
    return hmac.digest(secret, key.encode("utf-8", "surrogatepass"), "sha256")


def digest_of(secret: bytes, key: str) -> str:
    """HMAC-SHA256 under the workspace's secret, hex: what is stored of a key."""
    return _digest(secret, key).hex()


def last_four(key: str) -> str:
    """What is shown of a key after its first day."""
    return key[-4:]


def setup_code(secret: bytes) -> str:
    """80 bits that only who can read the data folder knows, in four groups."""
    code = base64.b32encode(hmac.digest(secret, b"setup code", "sha256")[:10]).decode()
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


class KeyRing:
    """Finds the source of a write key, disabled ones too. Immutable: make a new one when the workspace's revision moves."""

    def __init__(self, secret: bytes, sources: Iterable[Source]) -> None:
        self._secret = secret
        self._entries = {
            digest: (digest, source)
            for source in sources
            for digest in (bytes.fromhex(key.digest) for key in source.keys)
        }

    def find(self, key: str) -> Source | None:
        """The source whose live key this is. Called for every request of a client, a few microseconds."""
        if len(key) > _LONGEST:
            return None
        digest = _digest(self._secret, key)
        entry = self._entries.get(digest)
        if entry is None or not hmac.compare_digest(entry[0], digest):
            return None
        return entry[1]
