"""What `authsvc serve` refuses to start on, beyond settings that are wrong in themselves."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from authsvc.app.soundness import StoreWatch
from authsvc.commands.demo import demo_accounts, prepare
from authsvc.core.clock import SECOND
from authsvc.core.model import AuditEvent
from authsvc.outside import Outside
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql import open_stores, soundness
from authsvc.stores.valkey import open_cache
from tests.parts import processes
from tests.parts.authority import Authority, server_names
from tests.parts.postgres import Postgres
from tests.parts.service import settings_for

_EVICTING = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-random",
    "volatile-ttl",
]


def configure(url: str, **settings: str) -> None:
    """Set up a running cache in this way."""
    with redis.Redis.from_url(url) as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)


@pytest.fixture
async def full(own_valkey: EmbeddedValkey) -> EmbeddedValkey:
    """A cache that may be full one day."""
    configure(own_valkey.url, maxmemory="100mb")
    return own_valkey


async def weaknesses(valkey: EmbeddedValkey) -> list[str]:
    """What is found to be wrong with a cache."""
    cache = await open_cache(valkey.url, epoch=1, timeout_ms=10 * SECOND)
    try:
        return list(await cache.weaknesses())
    finally:
        await cache.close()


@pytest.mark.parametrize("policy", _EVICTING)
async def test_a_cache_that_forgets_guesses_is_found(full: EmbeddedValkey, policy: str) -> None:
    """A cache that may throw login counters away when it is full is found, whatever it is that it throws away first."""
    configure(full.url, maxmemory_policy=policy)

    (found,) = await weaknesses(full)

    assert policy in found


async def test_a_cache_that_forgets_nothing_is_sound(full: EmbeddedValkey) -> None:
    """`noeviction` is sound; so is any policy that never comes to act, for want of a limit."""
    assert await weaknesses(full) == []

    configure(full.url, maxmemory="0", maxmemory_policy="allkeys-lru")

    assert await weaknesses(full) == []


async def test_a_cache_that_comes_up_unsafe_is_complained_about(
    full: EmbeddedValkey, sqlite_url: str
) -> None:
    """A cache that was down at the start, or is changed afterwards, or fails over, is looked at again: once in the log,
    and in a metric for as long as it is so."""
    stores, metrics = open_stores(sqlite_url), CollectorRegistry()
    cache = await open_cache(full.url, epoch=1, timeout_ms=10 * SECOND)
    watch = StoreWatch(settings_for(sqlite_url, full.url), stores, cache, metrics)
    configure(full.url, maxmemory_policy="allkeys-lru")

    def problems() -> float | None:
        return metrics.get_sample_value("authsvc_store_setting_problems", {"store": "cache"})

    with capture_logs() as logs:
        await watch.look()
        during = problems()
        await watch.look()
        configure(full.url, maxmemory_policy="noeviction")
        await watch.look()

    assert [entry["log_level"] for entry in logs] == ["error"]
    assert (during, problems()) == (1, 0)
    await cache.close()
    await stores.close()


def test_everything_unsafe_is_in_one_report(
    settings: dict[str, str], tmp_path: Path, valkey: EmbeddedValkey
) -> None:
    """A server whose database, cache and certificate are unsafe says all of it at once, and ends with status 2."""
    database = Postgres({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
    database.start()
    expired = Authority().sign(*server_names(), expires_in=timedelta(seconds=-1))
    cert_file, key_file = expired.write(tmp_path)
    name = asyncio.run(database.empty_migrated())
    asyncio.run(database.execute("ALTER TABLE second_factors SET UNLOGGED", database=name))
    asyncio.run(_prepare_demo(database.url(name)))
    configure(valkey.url, maxmemory="100mb", maxmemory_policy="volatile-ttl")
    tls = {"TLS_CERT_FILE": str(cert_file), "TLS_KEY_FILE": str(key_file)}

    try:
        ended = processes.run("serve", **settings | {"DATABASE_URL": database.url(name)} | tls)
    finally:
        configure(valkey.url, maxmemory="0", maxmemory_policy="noeviction")
        database.remove()

    assert ended.returncode == 2
    said = ended.stderr
    first, *listed = said[said.index("authsvc:") :].splitlines()
    assert first == "authsvc: what the settings lead to cannot be used:"
    expected = [
        "AUTHSVC_TLS_CERT_FILE: the certificate in",
        "AUTHSVC_DATABASE_URL: fsync is off",
        "AUTHSVC_DATABASE_URL: synchronous_commit is off",
        "AUTHSVC_DATABASE_URL: full_page_writes is off",
        "AUTHSVC_DATABASE_URL: table second_factors is unlogged",
        "AUTHSVC_CACHE_URL: maxmemory-policy is volatile-ttl",
        "AUTHSVC_DATABASE_URL: holds accounts that `authsvc dev` made (user demo, client admin, client local, ",
    ]
    assert len(listed) == len(expected)
    assert all(line.startswith(f"  - {start}") for line, start in zip(listed, expected, strict=True)), listed


async def _prepare_demo(url: str) -> None:
    stores = open_stores(url)
    await prepare(stores, settings_for(url, "none"), Outside(), None)
    await stores.close()


async def test_demo_accounts_that_nobody_gets_in_by(sqlite_url: str) -> None:
    """Demo accounts that are disabled and revoked are no way in; accounts of others are none of them."""
    await _prepare_demo(sqlite_url)
    stores = open_stores(sqlite_url)
    found = await demo_accounts(stores)
    user = await stores.users.get_by_username("demo")
    assert user is not None

    for client in ("admin", "local", "web"):
        await stores.clients.revoke(client, 1, AuditEvent("client.revoked", 1))
    with_user = await demo_accounts(stores)

    assert len(found) == 4
    assert with_user == ["user demo"]
    await stores.close()


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply", "off"])
async def test_waiting_for_a_standby_is_the_operators_choice(postgres: Postgres, value: str) -> None:
    """Whether a commit waits for a standby, too, is not ours to judge: all but `off` wait for the server's own disk."""
    database = await postgres.create_database()
    await postgres.execute(f"ALTER DATABASE {database} SET synchronous_commit = '{value}'")
    stores = open_stores(postgres.url(database))

    found = [each for each in await soundness.weaknesses(stores.database) if "synchronous_commit" in each]

    assert len(found) == (value == "off")
    await stores.close()
    await postgres.drop_database(database)


def test_short_secrets_are_named_with_the_settings(settings: dict[str, str]) -> None:
    """A secret that is too short, and a store that need not prove itself, are in the report of the settings."""
    Path(settings["SECRET_KEYS_FILE"]).write_text("short")
    unsafe = {"DATABASE_URL": "postgresql://db/authsvc?sslmode=require", "CACHE_URL": "redis://cache"}

    ended = processes.run("serve", **settings | unsafe)

    named = [line.removeprefix("  - ").split(":")[0] for line in ended.stderr.splitlines()[1:]]
    assert ended.returncode == 2
    assert sorted(named) == ["AUTHSVC_CACHE_URL", "AUTHSVC_DATABASE_URL", "AUTHSVC_SECRET_KEYS_FILE"]
