"""Passwords of people: what is allowed, and how they are kept (argon2id)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 10
LONGEST: Final = 200
_USUAL: Final = frozenset(
    (
        "1234567890", "0123456789", "12345678910", "123456789a", "1q2w3e4r5t", "qwertyuiop", "qwertzuiop", "azertyuiop", "password12",
        "password123", "password1234", "passw0rd123", "iloveyou12", "letmein1234", "welcome123", "admin12345", "administrator",
        "headrace123", "changeme123", "changemenow", "sunshine123", "football123", "1qaz2wsx3edc", "qwerty12345", "abcdefghij", "abc1234567",
    )
)  # fmt: skip
"""Of ten characters and more; the shorter ones are refused by their length."""


def checked(password: str, *known: str) -> str:
    """The password. `known` are name and e-mail of the person. Raises ConfigError that does not repeat it."""
    plain = password.casefold()
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(
            f"password: it has {len(password)} characters; take {SHORTEST} to {LONGEST}, for example four random words"
        )
    if len(set(plain)) < 5 or plain in _USUAL:
        raise ConfigError("password: everybody would try that one; take another, for example four random words")
    if plain in {text.casefold() for text in known} | {text.casefold().partition("@")[0] for text in known}:
        raise ConfigError("password: it is your name or address; take another, for example four random words")
    return password


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415 - only who logs in needs it

    return PasswordHasher(
        time_cost=2, memory_cost=19_456, parallelism=1
    )  # OWASP's second choice: 19 MiB, as the worker is small


def hashed(password: str) -> str:
    return _hasher().hash(password)


def fits(kept: str | None, password: str) -> bool:
    """Whether it is the password of the hash. Without a hash the same work is done, so that nobody can tell by the time who is known."""
    from argon2.exceptions import VerificationError  # noqa: PLC0415 - as above

    try:
        _hasher().verify(kept or _nobodys(), password)
    except VerificationError:
        return False
    return kept is not None


@cache
def _nobodys() -> str:
    return hashed("the password of nobody at all")
