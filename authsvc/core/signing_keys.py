"""Owns the keys that sign access tokens: making, sealing, loading, publishing. Leaves claims to core.access_tokens.

A key comes either from the deployment as a PEM, or from the key store, where its private half is sealed under the
deployment secret. Its id is its thumbprint (RFC 7638), so that the same key has the same id everywhere.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authsvc.core.contracts import KeyStore
from authsvc.core.model import AuditEvent, KeyState, SigningKey
from authsvc.core.sealing import Vault
from authsvc_client.strict import KeyRefused, KeySet, public_jwk

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KEY_SET_MAX_AGE_MS = 300_000
RSA_MIN_BITS = 3072
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
    """The key that signs, and every key whose tokens are believed (`keys` to publish, active first)."""

    signer: Signer = field(repr=False)
    keys: tuple[SigningKey, ...]

    @property
    def jwks(self) -> str:
        """The believed keys as a JWK Set (RFC 7517 §5)."""
        return json.dumps({"keys": [json.loads(key.public_jwk) for key in self.keys]}, separators=(",", ":"))

    @property
    def key_set(self) -> KeySet:
        """The believed keys, ready to verify with."""
        return KeySet.from_jwks(self.jwks)


def ring_from_pem(pem: bytes, now: int) -> KeyRing:
    """Return a ring of the one key in an unencrypted PEM. Raises SigningKeyUnusable."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise SigningKeyUnusable("this is no unencrypted PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise SigningKeyUnusable("the key must be EC P-256, Ed25519 or RSA")
    signer = Signer(key)
    return KeyRing(signer, (_stored(signer, b"", now),))


async def ring_from_store(store: KeyStore, vault: Vault, algorithm: str, now: int) -> KeyRing:
    """Return the ring of the stored keys, making the first one if there is none.

    Of several instances that start at once one makes it, and the others take it. Raises SigningKeyUnusable,
    CannotUnseal (sealed under a secret that is no longer listed).
    """
    keys = await store.list()
    if not any(key.state is KeyState.ACTIVE for key in keys):
        await store.create_active(
            _new_key(vault, algorithm, now), AuditEvent("key.created", now, actor="authsvc")
        )
        keys = await store.list()
    return _ring(keys, vault)


def _ring(keys: Sequence[SigningKey], vault: Vault) -> KeyRing:
    active = next(key for key in keys if key.state is KeyState.ACTIVE)
    private = serialization.load_der_private_key(
        vault.unseal(active.sealed_private, active.id), password=None
    )
    if not isinstance(private, PrivateKey):
        raise SigningKeyUnusable("the stored key is of a kind that signs nothing here")
    believed = [key for key in keys if key.state in _BELIEVED]
    believed.sort(key=lambda key: _BELIEVED.index(key.state))
    return KeyRing(Signer(private), tuple(believed))


def _new_key(vault: Vault, algorithm: str, now: int) -> SigningKey:
    private = _generate(algorithm)
    signer = Signer(private)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _stored(signer, vault.seal(der, signer.key_id), now)


def _generate(algorithm: str) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            return rsa.generate_private_key(65537, RSA_MIN_BITS)
    raise SigningKeyUnusable("the algorithm must be ES256, EdDSA or RS256")


def _stored(signer: Signer, sealed: bytes, now: int) -> SigningKey:
    jwk = json.dumps(signer.jwk, separators=(",", ":"))
    return SigningKey(signer.key_id, signer.algorithm, KeyState.ACTIVE, jwk, now, sealed)


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
