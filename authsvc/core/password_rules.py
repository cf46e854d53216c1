"""Owns the rules for new passwords (NIST SP 800-63B-4 §3.1.1.2). Leaves hashing to core.passwords.

Length and a blocklist; no composition rules. Each refusal says which rule, never what was typed.
"""

from dataclasses import dataclass

from authsvc.core.errors import PasswordTooWeak
from authsvc.core.passwords import normalised

PASSWORD_MAX_BYTES = 1024
# Long passwords that people are known to choose, lower case. Shorter ones fail by length.
_COMMON = frozenset(
    (
        "1234567890123456",
        "123456789012345",
        "qwertyuiopasdfgh",
        "qwertyuiopasdfghjkl",
        "qwertyuiopasdfghjklzxcvbnm",
        "passwordpassword",
        "password12345678",
        "password123456789",
        "correcthorsebatterystaple",
        "correct horse battery staple",
        "thisismypassword",
        "thisisapassword",
        "mypasswordispassword",
        "administrator123",
        "changeme12345678",
        "welcomewelcome1",
        "1q2w3e4r5t6y7u8i",
        "1qaz2wsx3edc4rfv",
        "qazwsxedcrfvtgb",
        "zaq12wsxcde34rfv",
        "abcdefghijklmno",
        "abcdefghijklmnop",
        "abcdefghijklmnopqrstuvwxyz",
    )
)


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """What a new password must be. `min_length` counts code points after NFC."""

    min_length: int = 15

    def check(self, password: str, username: str) -> None:
        """Return if the password will do. Raises PasswordTooWeak."""
        text = normalised(password)
        folded = text.casefold()
        if len(text) < self.min_length:
            raise PasswordTooWeak(f"use at least {self.min_length} characters")
        if len(text.encode()) > PASSWORD_MAX_BYTES:
            raise PasswordTooWeak(f"use at most {PASSWORD_MAX_BYTES} bytes")
        if folded in _COMMON:
            raise PasswordTooWeak("this is one of the passwords that many people use")
        if _repeats(folded):
            raise PasswordTooWeak("this repeats a few characters over and over")
        if username and folded.replace(username.casefold(), "").strip(" ._-0123456789") == "":
            raise PasswordTooWeak("this is little more than the username")


def _repeats(text: str) -> bool:
    return any(text == (text[:period] * len(text))[: len(text)] for period in range(1, 6))
