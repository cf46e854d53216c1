"""Owns `authsvc secrets`: moving a deployment to another secret. Straight on the database; servers may run meanwhile.

Leaves what is sealed to `core.reencryption`.
"""

import asyncio
import os
from typing import TYPE_CHECKING

import typer

from authsvc import logs
from authsvc.commands.connection import read
from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.commands.options import Json
from authsvc.commands.output import print_json, say
from authsvc.config import read_offline_settings
from authsvc.settings import OfflineSettings

if TYPE_CHECKING:
    from authsvc.core.reencryption import Reencrypted

# In the audit log. No client can have this id: it holds a space.
_ACTOR = "offline command"
_KINDS = {
    "signing_keys": "Signing keys",
    "second_factors": "Secrets of second factors",
    "passwords": "Password hashes",
}

commands = typer.Typer(
    help="Move to another deployment secret.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@commands.callback()
def _any_command() -> None:
    pass


@commands.command()
def reencrypt(json: Json = False) -> None:
    """Seal what is sealed in the database anew, under the first secret of AUTHSVC_SECRET_KEYS_FILE.

    Needs AUTHSVC_DATABASE_URL and AUTHSVC_SECRET_KEYS_FILE, and no server. May be run again. Afterwards only tokens
    still hang on older secrets; docs/keys.md says for how long.
    """
    from authsvc.commands import refusal  # late, like the rest of what works on the database
    from authsvc.core.contracts import StoreUnavailable
    from authsvc.core.sealing import CannotUnseal

    logs.configure_for_terminal()
    settings = read(read_offline_settings)
    try:
        done = asyncio.run(_reencrypt(settings))
    except StoreUnavailable as error:
        raise refusal.of_rule(error) from None
    except CannotUnseal:
        raise CommandFailed(
            "something was sealed under a secret that AUTHSVC_SECRET_KEYS_FILE does not list; add it",
            REFUSED,
        ) from None
    if json:
        print_json(
            {
                name: {"sealed": each.sealed, "moved": each.moved}
                for name, each in zip(_KINDS, done, strict=True)
            }
        )
        return
    for name, each in zip(_KINDS.values(), done, strict=True):
        say(f"{name} sealed: {each.sealed}, of which {each.moved} moved to the current secret.")


async def _reencrypt(settings: OfflineSettings) -> "tuple[Reencrypted, ...]":
    from authsvc.commands.schema import check_schema
    from authsvc.core import one_time_codes, stored_hashes
    from authsvc.core.reencryption import (
        reencrypt_password_hashes,
        reencrypt_second_factors,
        reencrypt_signing_keys,
    )
    from authsvc.core.sealing import Vault
    from authsvc.core.signing_keys import VAULT_PURPOSE
    from authsvc.core.stored_hashes import StoredHashes
    from authsvc.outside import wall_clock
    from authsvc.stores.sql import open_stores

    database_url = settings.database_url.get_secret_value()
    await check_schema(database_url)
    stores = open_stores(database_url, pool_size=2)
    try:
        of_keys = Vault(settings.secrets, VAULT_PURPOSE, os.urandom)
        of_factors = Vault(settings.secrets, one_time_codes.VAULT_PURPOSE, os.urandom)
        keys = await reencrypt_signing_keys(stores.keys, of_keys, wall_clock, _ACTOR)
        factors = await reencrypt_second_factors(
            stores.second_factors, stores.audit, of_factors, wall_clock, _ACTOR
        )
        hashes = StoredHashes(Vault(settings.secrets, stored_hashes.VAULT_PURPOSE, os.urandom))
        passwords = await reencrypt_password_hashes(stores.users, stores.audit, hashes, wall_clock, _ACTOR)
    finally:
        await stores.close()
    return keys, factors, passwords
