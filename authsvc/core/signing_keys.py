"""Owns the keys that sign access tokens: making, sealing, opening, publishing. Leaves claims to core.access_tokens,
when a key begins and ends to core.key_lifecycle.

A key comes either from the deployment as a PEM, or from the key store, where its private half is sealed under the
deployment secret. Its id is its thumbprint (RFC 7638), so that the same key has the same id everywhere.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authsvc.core.model import KeyState, SigningKey
from authsvc.core.sealing import Vault
from authsvc_client.strict import KeyRefused, KeySet, public_jwk

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

VAULT_PURPOSE = "signing keys"
KEY_SET_MAX_AGE_MS = 300_000
RSA_MIN_BITS = 3072
# A PEM file may hold several keys, one block each, and other blocks (parameters, certificates) that do not matter.
_PEM_BLOCK = re.compile(
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----", re.DOTALL
)
# The states in which a key's tokens are believed, in the order in which such keys are published.
_BELIEVED = (KeyState.ACTIVE, KeyState.PREPARED, KeyState.RETIRING)


class SigningKeyUnusable(Exception):
    """The signing key cannot be used; the message says why and holds no part of it."""


class Signer:
    """Signs with one private key."""

    def __init__(self, key: PrivateKey) -> None:
        try:
            self.jwk = public_jwk(key.public_key())
        except KeyRefused:
            raise SigningKeyUnusable("the key must be EC P-256, Ed25519 or RSA") from None
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_MIN_BITS:
            raise SigningKeyUnusable(f"an RSA key needs at least {RSA_MIN_BITS} bits")
        self.key_id, self.algorithm = self.jwk["kid"], self.jwk["alg"]
        self._key = key
        self._algorithm = jwt.get_algorithm_by_name(self.algorithm)
        header = {"alg": self.algorithm, "kid": self.key_id, "typ": "at+jwt"}
        self._header = _base64url(json.dumps(header, separators=(",", ":")).encode())

    def sign(self, payload: bytes) -> str:
        """Return the compact JWS (RFC 7515 §7.1) of type `at+jwt` over the payload."""
        signed = self._header + b"." + _base64url(payload)
        return (signed + b"." + _base64url(self._algorithm.sign(signed, self._key))).decode()


@dataclass(frozen=True)
class KeyRing:
    """The key that signs, and every key whose tokens are believed (`keys` to publish, active first).

    `opened` is None where the active key cannot be opened: then all is as it should be, but nothing can be signed.
    """

    opened: Signer | None = field(repr=False)
    keys: tuple[SigningKey, ...]

    @property
    def signer(self) -> Signer:
        """What signs. Raises SigningKeyUnusable."""
        if self.opened is None:
            raise SigningKeyUnusable("the active key does not open under this instance's secrets")
        return self.opened

    @cached_property
    def jwks(self) -> str:
        """The believed keys as a JWK Set (RFC 7517 §5)."""
        return json.dumps({"keys": [json.loads(key.public_jwk) for key in self.keys]}, separators=(",", ":"))

    @cached_property
    def key_set(self) -> KeySet:
        """The believed keys, ready to verify with."""
        return KeySet.from_jwks(self.jwks)


class Keys:
    """The ring in force. It is swapped whole, so whoever asks twice may get two answers: ask once per piece of work."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring


NO_KEYS = KeyRing(None, ())


def ring_from_pem(pem: bytes, now: int) -> KeyRing:
    """Return a ring of the unencrypted private keys in a PEM: the first signs, the tokens of the others are believed.

    Raises SigningKeyUnusable.
    """
    signers = [Signer(_read_pem(block)) for block in _PEM_BLOCK.findall(pem) or [pem]]
    if len({signer.key_id for signer in signers}) < len(signers):
        raise SigningKeyUnusable("the same key is given twice")
    states = [KeyState.ACTIVE] + [KeyState.RETIRING] * (len(signers) - 1)
    keys = [_stored(signer, b"", now, state) for signer, state in zip(signers, states, strict=True)]
    return KeyRing(signers[0], tuple(keys))


def believed(keys: Sequence[SigningKey]) -> tuple[SigningKey, ...]:
    """Return the keys to publish, in the order to publish them in."""
    found = [key for key in keys if key.state in _BELIEVED]
    return tuple(sorted(found, key=lambda key: _BELIEVED.index(key.state)))


def open_signer(key: SigningKey, vault: Vault) -> Signer:
    """Return what signs with a stored key. Takes milliseconds. Raises CannotUnseal (sealed under a secret that is not
    listed), SigningKeyUnusable."""
    private = serialization.load_der_private_key(vault.unseal(key.sealed_private, key.id), password=None)
    if not isinstance(private, PrivateKey):
        raise SigningKeyUnusable("the stored key is of a kind that signs nothing here")
    return Signer(private)


def new_key(vault: Vault, algorithm: str, now: int, state: KeyState) -> SigningKey:
    """Make a key, its private half sealed. An RSA key takes up to a second."""
    private = _generate(algorithm)
    signer = Signer(private)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _stored(signer, vault.seal(der, signer.key_id), now, state)


def _read_pem(pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise SigningKeyUnusable("this is no unencrypted PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise SigningKeyUnusable("the key must be EC P-256, Ed25519 or RSA")
    return key


def _generate(algorithm: str) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            return rsa.generate_private_key(65537, RSA_MIN_BITS)
    raise SigningKeyUnusable("the algorithm must be ES256, EdDSA or RS256")


def _stored(signer: Signer, sealed: bytes, now: int, state: KeyState) -> SigningKey:
    jwk = json.dumps(signer.jwk, separators=(",", ":"))
    active_at = now if state is KeyState.ACTIVE else None
    return SigningKey(signer.key_id, signer.algorithm, state, jwk, now, sealed, active_at)


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
