"""Owns what a scope and an audience may look like."""

import re
from collections.abc import Sequence

from authsvc.core.errors import InvalidRequest

NAMES_MAX = 64
# RFC 6749 §3.3 scope-token: printable ASCII without space, quote and backslash.
_NAME = re.compile(r"[!#-\[\]-~]{1,128}")


def checked_names(names: Sequence[str], field: str) -> tuple[str, ...]:
    """Return scopes or audiences without repeats. Raises InvalidRequest naming `field`."""
    if len(names) > NAMES_MAX:
        raise InvalidRequest((field, f"must be at most {NAMES_MAX}"))
    if not all(_NAME.fullmatch(name) for name in names):
        raise InvalidRequest((field, "must each be 1 to 128 printable ASCII characters without spaces"))
    return tuple(dict.fromkeys(names))
