"""A signature pinned to one key and its one algorithm (RFC 7515 §5.2, RFC 8725 §3.1).

The header chooses nothing here: it names an algorithm, and that name must be the key's. What the payload
claims is judged in `profile`.
"""

from typing import Any, Final

from authsvc_client.strict.compact import Compact, split
from authsvc_client.strict.errors import HeaderRefused, TokenMalformed, WrongAlgorithm
from authsvc_client.strict.keys import Key
from authsvc_client.strict.strictjson import parse_object

MAX_DEPTH: Final = 4

# Each would change what the bytes mean or where the key comes from, so none is even looked at.
_REFUSED_MEMBERS: Final = frozenset({"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"})


def verify_jws(token: str, key: Key) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a token signed by `key`. Raises a TokenRejected.

    Any `kid` is ignored and the payload is not read: use `verify_access_token` for access tokens.
    """
    parts = split(token)
    header = read_header(parts.header)
    check_signature(parts, header, key)
    return header, parts.payload


def read_header(raw: bytes) -> dict[str, Any]:
    """The protected header. Raises TokenMalformed or HeaderRefused."""
    header = read_object(raw)
    if not _REFUSED_MEMBERS.isdisjoint(header):
        raise HeaderRefused
    return header


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object of a token, nested at most four deep. Raises TokenMalformed."""
    try:
        return parse_object(raw, MAX_DEPTH)
    except ValueError:
        raise TokenMalformed from None


def check_signature(parts: Compact, header: dict[str, Any], key: Key) -> None:
    """Raises WrongAlgorithm or BadSignature."""
    if header.get("alg") != key.algorithm:
        raise WrongAlgorithm
    key.check(parts.signature, parts.signed)
