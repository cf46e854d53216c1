"""Owns what a bearer text may look like before it becomes metadata (RFC 6750 §2.1)."""

import re

_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")


def check_bearer(token: str) -> str:
    """Return the token. Raises ValueError, which does not repeat it, for what cannot be one: empty, too long, or with
    characters (a line feed from a file, say) that do not belong there."""
    if _BEARER.fullmatch(token) is None:
        raise ValueError("the token is empty, too long, or has characters that no token has")
    return token
