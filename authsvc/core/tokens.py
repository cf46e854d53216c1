"""Owns the opaque token texts: how they are made, told apart and recognised. Leaves storing them to the stores.

    ats_<base64url(key id 1 | secret 32 | MAC 9)>                                     session token
    atc_<base64url(key id 1 | secret 32 | MAC 9)>                                     client key
    atr_<base64url(key id 1 | session id 16 | generation 5 | secret 32 | MAC 9)>      refresh token

The prefix lets secret scanners find a leaked token. The secret is 256 random bits. The MAC (HMAC-SHA256, cut to 72
bits, over prefix and body) lets a text that this deployment never minted be refused before any I/O; it is a filter
against floods, not the proof: that is the secret, of which only the SHA-256 of the whole text is ever stored.
"""

import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from authsvc.core.secrets import DeploymentSecrets

RandomBytes = Callable[[int], bytes]

SECRET_BYTES = 32
_MAC_BYTES = 9
_GENERATION_BYTES = 5
_REFRESH_SECRET_START = 1 + 16 + _GENERATION_BYTES
_TO_BASE64 = str.maketrans("-_", "+/")


class Kind(Enum):
    """The kinds of opaque token, by prefix."""

    SESSION = "ats_"
    REFRESH = "atr_"
    CLIENT_KEY = "atc_"


_BODY_BYTES = {
    Kind.SESSION: 1 + SECRET_BYTES + _MAC_BYTES,
    Kind.CLIENT_KEY: 1 + SECRET_BYTES + _MAC_BYTES,
    Kind.REFRESH: _REFRESH_SECRET_START + SECRET_BYTES + _MAC_BYTES,
}
# Every body is a multiple of three bytes: base64 has no padding and no spare bits, so each token has one spelling.
_TEXT_LENGTH = {kind: 4 + size // 3 * 4 for kind, size in _BODY_BYTES.items()}


class TokenNotOurs(Exception):
    """This deployment never minted this text as a token of this kind. Nothing more is told."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh token: its text, for the caller only, and its hash, for the store."""

    text: str = field(repr=False)
    token_hash: bytes


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token that this deployment minted. Whether it is still good is for core.refresh to judge."""

    session_id: str
    generation: int
    secret: bytes = field(repr=False)
    token_hash: bytes


class TokenMint:
    """Makes and recognises opaque tokens of this deployment. Does no I/O."""

    def __init__(self, secrets: DeploymentSecrets, random_bytes: RandomBytes) -> None:
        self._current = secrets.current_id
        self._mac_keys = secrets.derive("token mac")
        self._random_bytes = random_bytes

    def session_token(self) -> Minted:
        """Make a session token."""
        return self._mint(Kind.SESSION, self._random_bytes(SECRET_BYTES))

    def client_key(self) -> Minted:
        """Make a client key."""
        return self._mint(Kind.CLIENT_KEY, self._random_bytes(SECRET_BYTES))

    def refresh_token(self, session_id: str, generation: int) -> Minted:
        """Make the refresh token of a generation of a session."""
        place = UUID(session_id).bytes + generation.to_bytes(_GENERATION_BYTES, "big")
        return self._mint(Kind.REFRESH, place + self._random_bytes(SECRET_BYTES))

    def hash_of(self, kind: Kind, text: str) -> bytes:
        """Return the hash of a token of this kind. Raises TokenNotOurs."""
        self._open(kind, text)
        return hashlib.sha256(text.encode()).digest()

    def read_refresh(self, text: str) -> RefreshToken:
        """Return what a refresh token says. Raises TokenNotOurs."""
        body = self._open(Kind.REFRESH, text)
        return RefreshToken(
            session_id=str(UUID(bytes=body[1:17])),
            generation=int.from_bytes(body[17:_REFRESH_SECRET_START], "big"),
            secret=body[_REFRESH_SECRET_START:-_MAC_BYTES],
            token_hash=hashlib.sha256(text.encode()).digest(),
        )

    def _mint(self, kind: Kind, content: bytes) -> Minted:
        body = bytes([self._current]) + content
        body += _mac(self._mac_keys[self._current], kind, body)
        text = kind.value + binascii.b2a_base64(body, newline=False).decode().translate(_FROM_BASE64)
        return Minted(text, hashlib.sha256(text.encode()).digest())

    def _open(self, kind: Kind, text: str) -> bytes:
        if len(text) != _TEXT_LENGTH[kind] or not text.startswith(kind.value):
            raise TokenNotOurs
        body = _decode(text[4:])
        key = self._mac_keys.get(body[0])
        if key is None or not hmac.compare_digest(_mac(key, kind, body[:-_MAC_BYTES]), body[-_MAC_BYTES:]):
            raise TokenNotOurs
        return body


_FROM_BASE64 = str.maketrans("+/", "-_")


def kind_of(text: str) -> Kind | None:
    """Return the kind that the prefix claims, None for anything else (a JWT, say). Proves nothing."""
    return _KIND_BY_PREFIX.get(text[:4])


_KIND_BY_PREFIX = {kind.value: kind for kind in Kind}


def _decode(text: str) -> bytes:
    if "+" in text or "/" in text:
        raise TokenNotOurs
    try:
        return binascii.a2b_base64(text.translate(_TO_BASE64), strict_mode=True)
    except ValueError:
        raise TokenNotOurs from None


def _mac(key: bytes, kind: Kind, content: bytes) -> bytes:
    return hmac.digest(key, kind.value.encode() + content, "sha256")[:_MAC_BYTES]
