"""Owns the form in which usernames are compared, and which names may be given."""

import unicodedata

from authsvc.core.errors import InvalidRequest

USERNAME_MAX_BYTES = 256


def username_key(username: str) -> str:
    """Return the compared form: NFKC and case folded, so that look-alikes of one spelling are one name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def checked_username(username: str) -> str:
    """Return the form that is kept (NFC). Raises InvalidRequest naming `username`."""
    name = unicodedata.normalize("NFC", username)
    if not name or name != name.strip():
        raise InvalidRequest(("username", "must not be empty, nor begin or end with a space"))
    if len(name.encode()) > USERNAME_MAX_BYTES:
        raise InvalidRequest(("username", f"must be at most {USERNAME_MAX_BYTES} bytes"))
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in name):
        raise InvalidRequest(("username", "must hold no control or invisible characters"))
    return name
