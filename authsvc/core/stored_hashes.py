"""Owns the form in which password hashes are stored: PHC strings of argon2id whose digest is sealed (a pepper).

Leaves hashing to core.passwords, and moving hashes to another deployment secret to core.reencryption.

    $argon2id$v=19$m=19456,t=2,p=1$<salt>$<sealed digest>

The digest is encrypted under a key derived from the deployment secrets, and the id of the secret is its first byte, so
that a leaked database alone lets nobody try passwords (NIST SP 800-63B-4 §3.1.1.2). Encryption rather than a keyed hash
of the password: hashes move to another secret without their users. The user and the rest of the string are
authenticated: a hash copied to another user's row, or made cheaper, does not open.
"""

import base64
from dataclasses import dataclass, replace

import argon2

from authsvc.core.errors import InvalidRequest
from authsvc.core.sealing import CannotUnseal, Vault

VAULT_PURPOSE = "password hash"
# Sealing makes a digest 29 bytes longer: longer than any that is taken in.
_DIGEST_BYTES = range(16, 44)
# Imported hashes: no weaker than the weakest that OWASP recommends (m=7168 KiB, t=5, and their like), and no dearer
# than a few of our own, since whoever knows a username can have it computed.
_MEMORY_KIB = range(7 * 1024, 64 * 1024 + 1)
_WORK_KIB = range(35 * 1024, 256 * 1024 + 1)
_PARALLELISM = range(1, 5)
_SALT_BYTES = range(8, 65)
_TEXT_MAX = 256


@dataclass(frozen=True, slots=True)
class _Phc:
    """A PHC string: everything up to the salt, the salt, the digest."""

    head: str
    salt: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.head}${self.salt}${_encode(self.digest)}"

    @property
    def is_sealed(self) -> bool:
        return len(self.digest) > max(_DIGEST_BYTES)


class StoredHashes:
    """Seals and opens hashes, each for its user. Those from before there was sealing are opened as they are."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, password_hash: str, user_id: str) -> str:
        """Return the hash as it is stored."""
        phc = _read(password_hash)
        return str(replace(phc, digest=self._vault.seal(phc.digest, _place(phc, user_id))))

    def open(self, stored: str, user_id: str) -> str:
        """Return the hash as argon2 knows it. Raises CannotUnseal."""
        phc = _read(stored)
        if not phc.is_sealed:
            return stored
        return str(replace(phc, digest=self._vault.unseal(phc.digest, _place(phc, user_id))))

    def is_current(self, stored: str) -> bool:
        """Whether the hash is sealed under the current secret."""
        phc = _read(stored)
        return phc.is_sealed and self._vault.is_current(phc.digest)


def checked_import(password_hash: str) -> str:
    """Return a hash from elsewhere if it can be taken over. Raises InvalidRequest naming `password_hash`."""
    wrong = _fault(password_hash)
    if wrong:
        raise InvalidRequest(("password_hash", wrong))
    return password_hash


def _fault(text: str) -> str:
    """What is wrong with a hash from elsewhere; empty if nothing is."""
    try:
        phc, found = _read(text[:_TEXT_MAX]), argon2.extract_parameters(text[:_TEXT_MAX])
        salt_bytes = len(_decode(phc.salt))
    except (CannotUnseal, ValueError):  # argon2's is one, too
        return "must be an argon2id hash in PHC form: $argon2id$v=19$m=...,t=...,p=...$salt$hash"
    if found.type is not argon2.Type.ID or found.version != 19 or str(phc) != text:
        return "must be argon2id, version 19"
    if found.memory_cost not in _MEMORY_KIB:
        return f"must have m from {_MEMORY_KIB.start} to {_MEMORY_KIB.stop - 1}"
    if found.memory_cost * found.time_cost not in _WORK_KIB:
        return f"must have m times t from {_WORK_KIB.start} to {_WORK_KIB.stop - 1}"
    if found.parallelism not in _PARALLELISM:
        return f"must have p from {_PARALLELISM.start} to {_PARALLELISM.stop - 1}"
    if len(phc.digest) not in _DIGEST_BYTES or salt_bytes not in _SALT_BYTES:
        return "must have a salt of 8 to 64 bytes and a hash of 16 to 43"
    return ""


def _read(text: str) -> _Phc:
    """Raises CannotUnseal for what is no such string."""
    try:
        head, salt, digest = text.rsplit("$", 2)
        return _Phc(head, salt, _decode(digest))
    except ValueError:  # binascii's is one, too
        raise CannotUnseal from None


def _place(phc: _Phc, user_id: str) -> str:
    return f"{user_id} {phc.head}${phc.salt}"


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")
