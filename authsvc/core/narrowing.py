"""Owns the one rule by which audiences and scopes are granted: a request may narrow what is allowed, never widen it."""

from collections.abc import Sequence

from authsvc.core.errors import InvalidRequest


def narrowed(allowed: Sequence[str], wanted: Sequence[str], field: str) -> tuple[str, ...]:
    """Return what is granted: all that is allowed, or the wanted part of it, without repeats.

    Raises InvalidRequest naming `field` if something else is wanted.
    """
    if not wanted:
        return tuple(allowed)
    if not set(wanted) <= set(allowed):
        raise InvalidRequest((field, "asks for more than may be granted"))
    return tuple(dict.fromkeys(wanted))
