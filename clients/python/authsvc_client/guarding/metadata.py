"""Owns what a guarded call says in its metadata: a bearer token, and how new the answer must be."""

from collections.abc import Iterable
from typing import Final

from authsvc_client.guarding.refusals import Refused
from authsvc_client.revision import MIN_REVISION_KEY

SESSION_PREFIX: Final = "ats_"

_BEARER: Final = "bearer "
_REVISION_DIGITS: Final = 18


def read(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, int]:
    """The bearer token, and the revision that must have been heard of (0: any).

    Raises Refused: no `authorization`, more than one, another scheme than Bearer, or a revision that is no number.
    """
    bearer, revision = "", 0
    for key, value in metadata:
        if key == "authorization":
            if bearer:
                raise Refused("CALLER_UNAUTHENTICATED")
            bearer = _bearer(value)
        elif key == MIN_REVISION_KEY:
            revision = max(revision, _revision(value))
    if not bearer:
        raise Refused("CREDENTIALS_MISSING")
    return bearer, revision


def _bearer(value: str | bytes) -> str:
    if not isinstance(value, str) or value[:7].lower() != _BEARER or len(value) == len(_BEARER):
        raise Refused("CALLER_UNAUTHENTICATED")
    return value[7:]


def _revision(value: str | bytes) -> int:
    text = value if isinstance(value, str) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= _REVISION_DIGITS):
        raise Refused("INVALID_REQUEST")
    return int(text)
