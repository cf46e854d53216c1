"""Owns moving what is sealed in the database to the current deployment secret. Leaves sealing to `core.sealing`.

Sealed under a deployment secret are the private halves of the signing keys that sign or are about to. (The successor of
a refresh token is sealed under its predecessor, and passes with it.)
"""

from dataclasses import dataclass

from authsvc.core.clock import Clock
from authsvc.core.contracts import KeyStore
from authsvc.core.model import AuditEvent
from authsvc.core.sealing import Vault


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """How many values are sealed, and how many of them were moved to the current secret."""

    sealed: int
    moved: int


async def reencrypt_signing_keys(store: KeyStore, vault: Vault, clock: Clock, actor: str) -> Reencrypted:
    """Seal every private half anew that is not under the current secret. May be run again, and beside running servers.

    Raises CannotUnseal for one whose secret is not listed, and those before it have been moved; StoreUnavailable.
    """
    keys = [key for key in await store.list() if key.sealed_private]
    moved = 0
    for key in keys:
        if vault.is_current(key.sealed_private):
            continue
        event = AuditEvent("key.reencrypted", clock(), actor=actor, reason=key.id)
        resealed = vault.reseal(key.sealed_private, key.id)
        moved += await store.reseal(key.id, key.sealed_private, resealed, event)
    return Reencrypted(len(keys), moved)
