"""The compact serialization of a JWS: text to header, payload and signature bytes (RFC 7515 §3.1, §7.1).

Everything that can be refused by looking at characters is refused before the first byte is decoded. What
the header says is judged in `jws`; what the payload says, in `profile`.
"""

import re
from binascii import a2b_base64
from typing import NamedTuple

from authsvc_client.strict.errors import TokenMalformed, TokenTooLarge

MAX_TOKEN_CHARS = 4096

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+")
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
# The last character of a text may only carry bits that belong to a byte: by length modulo 4.
_LAST = {
    2: frozenset(b"AQgw"),
    3: frozenset(b"AEIMQUYcgkosw048"),
}


class Compact(NamedTuple):
    """A token taken apart, nothing in it believed yet. `signed` are the bytes under the signature."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def split(token: str) -> Compact:
    """The three parts, decoded. Raises TokenTooLarge or TokenMalformed."""
    if not isinstance(token, str):
        raise TokenMalformed
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenTooLarge
    if _COMPACT.fullmatch(token) is None:
        raise TokenMalformed
    text = token.encode("ascii")
    header, payload, signature = text.split(b".")
    try:
        return Compact(
            _decode(header), _decode(payload), _decode(signature), text[: len(text) - len(signature) - 1]
        )
    except ValueError:
        raise TokenMalformed from None


def decode_base64url(text: str) -> bytes:
    """The bytes of a canonical, unpadded base64url text (RFC 7515 §2). Raises ValueError."""
    raw = text.encode("ascii")
    if _BASE64URL.fullmatch(raw) is None:
        raise ValueError("not base64url")
    return _decode(raw)


def _decode(text: bytes) -> bytes:
    """Decodes a text whose alphabet was checked; one byte string has exactly one text."""
    rest = len(text) % 4
    if rest and (rest == 1 or text[-1] not in _LAST[rest]):
        raise ValueError("not canonical base64url")
    return a2b_base64(text.translate(_TO_BASE64) + b"==")
