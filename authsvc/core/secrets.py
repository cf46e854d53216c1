"""Owns the deployment secrets and every key derived from them. Leaves reading files to `authsvc.config`.

One or more secrets of at least 32 bytes; the first is current, the others still open what was made under them.
Each use gets its own key by HKDF-SHA256 (RFC 5869), so that no key serves two purposes. A secret is told apart by a
one-byte id, its fingerprint, which travels in tokens and sealed values.
"""

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_MIN_BYTES = 32


class SecretsUnusable(Exception):
    """The deployment secrets cannot be used; the message says why and names no secret."""


class DeploymentSecrets:
    """The deployment's secrets by their one-byte id."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise SecretsUnusable("at least one secret is needed")
        if any(len(secret) < SECRET_MIN_BYTES for secret in secrets):
            raise SecretsUnusable(f"each secret needs at least {SECRET_MIN_BYTES} bytes")
        self._by_id = {_fingerprint(secret): secret for secret in secrets}
        if len(self._by_id) != len(secrets):
            raise SecretsUnusable("two secrets share a fingerprint; replace one of them")
        self.current_id = _fingerprint(secrets[0])

    def __repr__(self) -> str:
        return f"DeploymentSecrets({len(self._by_id)} secrets)"

    def derive(self, purpose: str) -> dict[int, bytes]:
        """Return one 32-byte key for the purpose from each secret, by the secret's id."""
        return {key_id: derive_key(secret, purpose.encode()) for key_id, secret in self._by_id.items()}


def derive_key(secret: bytes, info: bytes, salt: bytes | None = None) -> bytes:
    """Return 32 bytes from `secret` by HKDF-SHA256."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"authsvc " + info).derive(secret)


def _fingerprint(secret: bytes) -> int:
    return hashlib.sha256(b"authsvc secret id" + secret).digest()[0]
