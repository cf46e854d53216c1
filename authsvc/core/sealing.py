"""Owns encryption at rest: the successor of a refresh token, and private keys. Leaves storing to the stores.

AES-256-GCM with a random 96-bit nonce in front of the ciphertext; what a value belongs to is authenticated with it,
so that a sealed value moved to another row does not open.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authsvc.core.ids import RandomBytes
from authsvc.core.secrets import DeploymentSecrets, derive_key
from authsvc.core.tokens import RefreshToken

_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """The value was sealed by another key or for another place."""


def seal_successor(presented: RefreshToken, successor: str, random_bytes: RandomBytes) -> bytes:
    """Seal the text of a successor so that only the holder of its predecessor can open it.

    The key comes from the predecessor's secret, which is stored nowhere: a leaked database opens nothing.
    """
    return _seal(_successor_key(presented), successor.encode(), _successor_place(presented), random_bytes)


def unseal_successor(presented: RefreshToken, sealed: bytes) -> str:
    """Return the text of the successor. Raises CannotUnseal."""
    return _unseal(_successor_key(presented), sealed, _successor_place(presented)).decode()


class Vault:
    """Seals values under the current deployment secret, and opens those sealed under any of them."""

    def __init__(self, secrets: DeploymentSecrets, purpose: str, random_bytes: RandomBytes) -> None:
        self._keys = secrets.derive(purpose)
        self._current = secrets.current_id
        self._random_bytes = random_bytes

    def seal(self, value: bytes, place: str) -> bytes:
        """Return the value sealed for this place (an id, say)."""
        return bytes([self._current]) + _seal(
            self._keys[self._current], value, place.encode(), self._random_bytes
        )

    def is_current(self, sealed: bytes) -> bool:
        """Whether the value was sealed under the current secret."""
        return sealed[:1] == bytes([self._current])

    def reseal(self, sealed: bytes, place: str) -> bytes:
        """Return the value sealed for this place anew, under the current secret. Raises CannotUnseal."""
        return self.seal(self.unseal(sealed, place), place)

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """Return the value sealed for this place. Raises CannotUnseal."""
        key = self._keys.get(sealed[0]) if sealed else None
        if key is None:
            raise CannotUnseal
        return _unseal(key, sealed[1:], place.encode())


def _successor_key(presented: RefreshToken) -> bytes:
    return derive_key(presented.secret, b"refresh successor")


def _successor_place(presented: RefreshToken) -> bytes:
    return f"{presented.session_id} {presented.generation}".encode()


def _seal(key: bytes, value: bytes, place: bytes, random_bytes: RandomBytes) -> bytes:
    nonce = random_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, value, place)


def _unseal(key: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
    except (InvalidTag, ValueError):
        raise CannotUnseal from None
