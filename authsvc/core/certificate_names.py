"""Owns the names in client certificates: which a client may be registered under, and which a certificate gives.

A name is the URI or the DNS name of a subjectAltName (RFC 5280 §4.2.1.6), compared as a whole; there are no wildcards.
DNS names are compared without regard to case (RFC 4343), so they are kept in lower case. Neither can be mistaken for
the other: a URI has a colon, a DNS name has none. The subject's common name says nothing (RFC 9525 §2).
"""

import re
from collections.abc import Iterable, Sequence

from authsvc.core.errors import InvalidRequest

NAMES_MAX = 16
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}://[!#-)+-~]{1,512}")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def checked_certificate_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names to register, without repeats. Raises InvalidRequest."""
    if len(names) > NAMES_MAX:
        raise InvalidRequest(("certificate_names", f"must be at most {NAMES_MAX}"))
    kept = [name if _URI.fullmatch(name) else name.lower() for name in names]
    if not all(_URI.fullmatch(name) or _DNS.fullmatch(name) for name in kept):
        raise InvalidRequest(
            (
                "certificate_names",
                "must each be a URI such as spiffe://shop/orders, or a DNS name, without wildcards",
            )
        )
    return tuple(dict.fromkeys(kept))


def names_of(uris: Iterable[bytes], dns_names: Iterable[bytes]) -> tuple[str, ...]:
    """Return the names that a verified certificate gives and that a client could be registered under."""
    found = [text for text in map(_text, uris) if _URI.fullmatch(text)]
    found += [text for text in (_text(name).lower() for name in dns_names) if _DNS.fullmatch(text)]
    return tuple(found)


def _text(name: bytes) -> str:
    return name.decode("ascii", "replace")
