"""Owns moving what is sealed in the database to the current deployment secret. Leaves sealing to `core.sealing`.

Sealed under a deployment secret are the private halves of the signing keys that sign or are about to, the secrets of
second factors, and password hashes. (The successor of a refresh token is sealed under its predecessor, and passes with
it; the challenge of a login passes within minutes.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import Clock
from authsvc.core.contracts import KeyStore
from authsvc.core.model import AuditEvent
from authsvc.core.sealing import Vault
from authsvc.core.second_factor_contract import SecondFactorStore
from authsvc.core.stored_hashes import StoredHashes

_PAGE = 500


class PasswordHashStore(Protocol):
    """The password hashes of all users."""

    async def list_hashes(self, limit: int, after_id: str) -> Sequence[tuple[str, str]]:
        """Return (user id, stored hash) by id, starting above `after_id`."""

    async def rehash(self, user_id: str, old_hash: str, new_hash: str) -> None:
        """Replace the hash of the same password. MUST change nothing if the hash is no longer `old_hash`."""


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


async def reencrypt_second_factors(
    store: SecondFactorStore, audit: AuditLog, vault: Vault, clock: Clock, actor: str
) -> Reencrypted:
    """Seal every second factor's secret anew that is not under the current secret; otherwise as above.

    What was moved is one event: nobody's second factor is another by it.
    """
    total = moved = 0
    after = ""
    while page := await store.list_sealed(_PAGE, after):
        for user_id, *secrets in page:
            for sealed in filter(None, secrets):
                total += 1
                if not vault.is_current(sealed):
                    moved += await store.reseal(user_id, sealed, vault.reseal(sealed, user_id))
        after = page[-1].user_id
    if moved:
        event = AuditEvent("second_factor.reencrypted", clock(), actor=actor, reason=f"{moved} of {total}")
        await audit.record(event)
    return Reencrypted(total, moved)


async def reencrypt_password_hashes(
    store: PasswordHashStore, audit: AuditLog, hashes: StoredHashes, clock: Clock, actor: str
) -> Reencrypted:
    """Seal every password hash anew that is not under the current secret, or under none; otherwise as above.

    What was moved is one event: nobody's password is another by it.
    """
    total = moved = 0
    after = ""
    while page := await store.list_hashes(_PAGE, after):
        for user_id, stored in page:
            total += 1
            if not hashes.is_current(stored):
                await store.rehash(user_id, stored, hashes.seal(hashes.open(stored, user_id), user_id))
                moved += 1
        after = page[-1][0]
    if moved:
        event = AuditEvent("user.passwords_reencrypted", clock(), actor=actor, reason=f"{moved} of {total}")
        await audit.record(event)
    return Reencrypted(total, moved)
