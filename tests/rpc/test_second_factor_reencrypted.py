"""Second factors after the deployment has moved to another secret."""

import os

from pydantic import SecretBytes

from authsvc.core import signing_keys, stored_hashes
from authsvc.core.one_time_codes import VAULT_PURPOSE
from authsvc.core.reencryption import (
    Reencrypted,
    reencrypt_password_hashes,
    reencrypt_second_factors,
    reencrypt_signing_keys,
)
from authsvc.core.sealing import Vault
from authsvc.core.stored_hashes import StoredHashes
from authsvc.outside import wall_clock
from authsvc.settings import Settings
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql import SqlStores
from tests.parts.authenticator import Authenticator, enrol
from tests.parts.service import SECRET, outcome, run_service

NEW = b"fedcba9876543210fedcba9876543210"


async def reencrypt(stores: SqlStores, settings: Settings) -> Reencrypted:
    """Seal what is sealed anew, under the first of the secrets."""
    of_keys = Vault(settings.secrets, signing_keys.VAULT_PURPOSE, os.urandom)
    await reencrypt_signing_keys(stores.keys, of_keys, wall_clock, "a test")
    hashes = StoredHashes(Vault(settings.secrets, stored_hashes.VAULT_PURPOSE, os.urandom))
    await reencrypt_password_hashes(stores.users, stores.audit, hashes, wall_clock, "a test")
    vault = Vault(settings.secrets, VAULT_PURPOSE, os.urandom)
    return await reencrypt_second_factors(stores.second_factors, stores.audit, vault, wall_clock, "a test")


async def test_codes_are_good_without_the_old_secret(database_url: str, valkey: EmbeddedValkey) -> None:
    """Once moved, TOTP and recovery codes are good while the old secret is gone. (Guard: reencrypt_second_factors.)"""
    async with run_service(database_url, valkey.url) as service:
        app = await enrol(service)

    both, new = SecretBytes(NEW + b"\n" + SECRET), SecretBytes(NEW)
    async with run_service(database_url, valkey.url, secret_keys=both) as service:
        moved = await reencrypt(service.app.stores, service.app.settings)
        again = await reencrypt(service.app.stores, service.app.settings)
    async with run_service(database_url, valkey.url, secret_keys=new) as service:
        service.user_ids["alice"] = "known"
        moved_app = Authenticator(service, app.secret)
        by_code = await outcome(moved_app.answer(await moved_app.challenge(), moved_app.next_code()))
        by_recovery = await outcome(moved_app.answer(await moved_app.challenge(), app.recovery_codes[0]))

    assert (moved, again) == (Reencrypted(1, 1), Reencrypted(1, 0))
    assert (by_code, by_recovery) == ("OK", "OK")
