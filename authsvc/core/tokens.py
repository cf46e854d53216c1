"""Owns the opaque token texts: how they are made, told apart and recognised. Leaves storing them to the stores.

    ats_<base64url(key id 1 | secret 32 | MAC 9)>                                     session token
    atc_<base64url(key id 1 | secret 32 | MAC 9)>                                     client key
    atr_<base64url(key id 1 | session id 16 | generation 5 | secret 32 | MAC 9)>      refresh token

The prefix lets secret scanners find a leaked token. The secret is 256 random bits. The MAC (keyed BLAKE2b of 72 bits,
RFC 7693 §2.9, personalised by the prefix) lets a text that this deployment never minted be refused before any I/O; it
is a filter against floods, not the proof: that is the secret, of which only the SHA-256 of the whole text is ever
stored. Two tokens are recognised on every validation, so it is done in few steps: BLAKE2b costs a third of HMAC here.
"""

import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum

from authsvc.core.ids import RandomBytes, id_octets, id_text
from authsvc.core.secrets import DeploymentSecrets

SECRET_BYTES = 32
_MAC_BYTES = 9
_GENERATION_BYTES = 5
_REFRESH_SECRET_START = 1 + 16 + _GENERATION_BYTES
_PREFIX_LENGTH = 4
# Between base64url and base64. The way back makes what is base64 alone, and padding, characters of neither.
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")


class Kind(Enum):
    """The kinds of opaque token, by prefix."""

    SESSION = "ats_", 1
    REFRESH = "atr_", _REFRESH_SECRET_START
    CLIENT_KEY = "atc_", 1

    def __init__(self, prefix: str, secret_start: int) -> None:
        self.prefix = prefix
        self.person = prefix.encode()
        # Every body is a multiple of three bytes: base64 has no padding and no spare bits, so each token has one
        # spelling.
        self.text_length = _PREFIX_LENGTH + (secret_start + SECRET_BYTES + _MAC_BYTES) // 3 * 4


class Fault(Enum):
    """What is wrong with a text that begins like a token. Only for explaining it to an admin."""

    LENGTH = "length"
    TEXT = "text"
    SECRET = "secret"
    MAC = "mac"


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
        place = id_octets(session_id) + generation.to_bytes(_GENERATION_BYTES, "big")
        return self._mint(Kind.REFRESH, place + self._random_bytes(SECRET_BYTES))

    def hash_of(self, kind: Kind, text: str) -> bytes:
        """Return the hash of a token of this kind. Raises TokenNotOurs."""
        self._open(kind, text)
        return hashlib.sha256(text.encode()).digest()

    def read_refresh(self, text: str) -> RefreshToken:
        """Return what a refresh token says. Raises TokenNotOurs."""
        body = self._open(Kind.REFRESH, text)
        return RefreshToken(
            session_id=id_text(body[1:17]),
            generation=int.from_bytes(body[17:_REFRESH_SECRET_START], "big"),
            secret=body[_REFRESH_SECRET_START:-_MAC_BYTES],
            token_hash=_hash(text),
        )

    def fault(self, kind: Kind, text: str) -> Fault | None:
        """Return why this deployment never minted this text as a token of this kind; None if it did."""
        try:
            self._open(kind, text)
        except TokenNotOurs:
            if len(text) != kind.text_length:
                return Fault.LENGTH
            try:
                secret_id = binascii.a2b_base64(text[_PREFIX_LENGTH:].encode().translate(_TO_BASE64))[0]
            except (ValueError, IndexError):
                return Fault.TEXT
            return Fault.MAC if secret_id in self._mac_keys else Fault.SECRET
        return None

    def _mint(self, kind: Kind, content: bytes) -> Minted:
        body = bytes([self._current]) + content
        body += _mac(self._mac_keys[self._current], kind, body)
        text = kind.prefix + binascii.b2a_base64(body, newline=False).translate(_TO_BASE64URL).decode()
        return Minted(text, _hash(text))

    def _open(self, kind: Kind, text: str) -> bytes:
        if len(text) != kind.text_length or not text.startswith(kind.prefix):
            raise TokenNotOurs
        try:
            body = binascii.a2b_base64(text[_PREFIX_LENGTH:].encode().translate(_TO_BASE64), strict_mode=True)
        except ValueError:
            raise TokenNotOurs from None
        key = self._mac_keys.get(body[0])
        if key is None or not hmac.compare_digest(_mac(key, kind, body[:-_MAC_BYTES]), body[-_MAC_BYTES:]):
            raise TokenNotOurs
        return body


def kind_of(text: str) -> Kind | None:
    """Return the kind that the prefix claims, None for anything else (a JWT, say). Proves nothing."""
    return _KIND_BY_PREFIX.get(text[:_PREFIX_LENGTH])


_KIND_BY_PREFIX = {kind.prefix: kind for kind in Kind}


def _mac(key: bytes, kind: Kind, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_MAC_BYTES, key=key, person=kind.person).digest()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
