"""Owns page sizes and page tokens: where the next page begins, spelled so that nobody is tempted to build one."""

import base64
import json

from authsvc.core.errors import InvalidRequest

PAGE_DEFAULT = 50
PAGE_MAX = 100


def page_size(asked: int) -> int:
    """Return how many to list. Raises InvalidRequest for a negative or too large one."""
    if not 0 <= asked <= PAGE_MAX:
        raise InvalidRequest(("page_size", f"must be between 0 and {PAGE_MAX}"))
    return asked or PAGE_DEFAULT


def page_token(*place: str) -> str:
    """Return the token of the page that begins after `place`."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_page_token(token: str, parts: int) -> tuple[str, ...]:
    """Return the place in a token. Raises InvalidRequest for anything that `page_token` did not make."""
    try:
        place = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        place = None
    if not isinstance(place, list) or len(place) != parts or not all(isinstance(part, str) for part in place):
        raise InvalidRequest(("page_token", "is not one that this service gave"))
    return tuple(place)
