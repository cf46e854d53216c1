"""Owns the rules for new passwords (NIST SP 800-63B-4 §3.1.1.2). Leaves hashing to core.passwords.

Length and a blocklist; no composition rules. Each refusal says which rule, never what was typed.
"""

from dataclasses import dataclass

from authsvc.core.common_passwords import SHORTEST_WORD, is_common
from authsvc.core.errors import PasswordTooWeak
from authsvc.core.passwords import normalised

PASSWORD_MAX_BYTES = 1024
# Long phrases that people are known to choose, without spaces; long words are in the list of core.common_passwords.
_COMMON_PHRASES = frozenset(
    (
        "correcthorsebatterystaple",
        "thisismypassword",
        "thisisapassword",
        "mypasswordispassword",
        "1qaz2wsx3edc4rfv",
        "1q2w3e4r5t6y7u8i",
        "zaq12wsxcde34rfv",
        "qazwsxedcrfvtgb",
        "thequickbrownfox",
    )
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """What a new password must be. `min_length` counts code points after NFC."""

    min_length: int = 15
    own_words: frozenset[str] = frozenset()
    """Names of the service, case-folded: in a password they are worth nothing."""

    def check(self, password: str, username: str) -> None:
        """Return if the password will do. Raises PasswordTooWeak."""
        text = normalised(password)
        folded = text.casefold()
        if len(text) < self.min_length:
            raise PasswordTooWeak(f"use at least {self.min_length} characters")
        if len(text.encode()) > PASSWORD_MAX_BYTES:
            raise PasswordTooWeak(f"use at most {PASSWORD_MAX_BYTES} bytes")
        if _repeats(folded):
            raise PasswordTooWeak("this repeats a few characters over and over")
        if _packed(folded) in _COMMON_PHRASES or _packed(folded) in _ALPHABET or is_common(folded):
            raise PasswordTooWeak("this is made of passwords that many people use")
        names = self.own_words | _names_in(username)
        if names and is_common(folded, names):
            raise PasswordTooWeak(
                "this is made of names that everybody can guess, the username or the service's"
            )


def words_of_issuer(host: str) -> frozenset[str]:
    """Return the words in the name of the service: its labels, the domain, the whole, and `authsvc`."""
    labels = [_packed(label) for label in host.casefold().split(".")]
    words = {*labels, "".join(labels[-2:]), "".join(labels), "authsvc"}
    return frozenset(word for word in words if len(word) >= SHORTEST_WORD)


def _names_in(username: str) -> frozenset[str]:
    """The username without signs, and each part of it that is a word."""
    folded = username.casefold()
    parts = "".join(character if character.isalnum() else " " for character in folded).split()
    return frozenset(name for name in (*parts, _packed(folded)) if len(name) >= SHORTEST_WORD)


def _packed(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def _repeats(text: str) -> bool:
    return any(text == (text[:period] * len(text))[: len(text)] for period in range(1, 6))
