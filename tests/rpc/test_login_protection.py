"""Logins during an attack: who is slowed down, who is not, and what survives the loss of the cache."""

import asyncio
from collections import Counter
from time import perf_counter
from typing import Any

import argon2
import pytest
import redis.asyncio

from authsvc.core.clock import DAY, MINUTE, SECOND
from authsvc.core.login_counters import LASTING_LIMITS, counters_of_account
from authsvc.core.model import AuditEvent
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import Device
from tests.parts.service import (
    PASSWORD,
    Service,
    fields_of,
    outcome,
    reason_of,
    refusal,
    retry_seconds_of,
    run_service,
)

HOME, ELSEWHERE = "192.0.2.1", "203.0.113.7"
NEW_PASSWORD = "another long pass phrase"


def log_in(
    service: Service, password: str = PASSWORD, device_token: str = "", at: str = HOME, name: str = "alice"
) -> Any:
    """A login from an address."""
    request = pb.LoginRequest(
        username=name, password=password, device=Device(ip_address=at), device_token=device_token
    )
    return service.auth.Login(request, metadata=service.by("web"))


async def guess(service: Service, times: int = 10, name: str = "alice", **how: Any) -> list[str]:
    """Guess wrongly so many times."""
    return [await outcome(log_in(service, "quite wrong", name=name, **how)) for _ in range(times)]


async def flush(valkey: EmbeddedValkey) -> None:
    """Empty the cache."""
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        await client.flushall()


async def known(service: Service) -> str:
    """Log in once; the credential of the device."""
    await service.add_user()
    token: str = (await log_in(service)).device_token
    return token


async def test_victim_logs_in(service: Service) -> None:
    """While others guess at the account, from the same network and as a crowd, a known device logs in, and only it."""
    service.clock.stop()
    token = await known(service)
    await guess(service)
    throttle = service.app.cache.throttle
    assert throttle is not None
    for key in counters_of_account("alice", HOME).throttle:
        while not await throttle.hit([key], service.clock()):
            pass

    stranger = await outcome(log_in(service, at=ELSEWHERE))
    victim = [await outcome(log_in(service, device_token=token)) for _ in range(6)]
    again = await outcome(
        log_in(service, device_token=(await log_in(service, device_token=token)).device_token)
    )

    assert stranger == "RATE_LIMITED"
    assert victim == ["OK"] * 6
    assert again == "OK"


async def test_a_stolen_credential_gives_no_free_guessing(service: Service) -> None:
    """Guesses with a device's credential are counted by device: five, then back-off, wherever they come from; the user
    elsewhere does not notice, and the counter survives the cache."""
    service.clock.stop()
    token = await known(service)

    found = [
        *await guess(service, 3, device_token=token),
        *await guess(service, 3, device_token=token, at=ELSEWHERE),
    ]
    waits = []
    for _ in range(4):
        wait = retry_seconds_of(await refusal(log_in(service, device_token=token)))
        service.clock.move(int(wait * SECOND))
        await guess(service, 1, device_token=token)
        waits.append(wait)

    assert found == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"]
    assert waits == [1, 2, 4, 8]
    assert await outcome(log_in(service)) == "OK"


async def test_a_flood(service: Service) -> None:
    """Of ninety guesses at once, at as many names from as many addresses, some are checked and the rest refused
    for want of room; meanwhile everybody's sessions are validated and the victim logs in from a known device.

    (Guard: the places of HashingSlots. What it costs, `make bench ARGS="--only login_flood"` measures.)
    """
    token = await known(service)
    session_token = (await log_in(service, device_token=token)).session_token

    flood = [
        asyncio.ensure_future(
            outcome(log_in(service, "quite wrong", name=f"user{n}", at=f"198.18.{n // 250}.{n % 250}"))
        )
        for n in range(90)
    ]
    others = [await outcome(service.validate(session_token)) for _ in range(20)]
    victim = await outcome(log_in(service, device_token=token))
    waiting = sum(not guess.done() for guess in flood)
    ends = Counter(await asyncio.gather(*flood))

    assert others == ["OK"] * 20
    assert victim == "OK"
    assert waiting
    assert set(ends) == {"INVALID_CREDENTIALS", "OVERLOADED"}


async def test_what_cannot_be_done_in_time_is_told_at_once(service: Service) -> None:
    """With no room left an attempt is refused within 50 ms, with a word on when to come back (design, overload)."""
    await service.add_user()
    service.app._passwords._slots.seconds = 30.0
    error, taken = await refusal(log_in(service)), []

    for _ in range(21):
        begun = perf_counter()
        await refusal(log_in(service))
        taken.append(perf_counter() - begun)

    assert reason_of(error) == "OVERLOADED"
    assert retry_seconds_of(error) > 0
    assert sorted(taken)[10] < 0.05


@pytest.mark.parametrize("ending", ["password set", "password changed", "time", "another secret"])
async def test_a_credential_ends(sqlite_url: str, valkey: EmbeddedValkey, ending: str) -> None:
    """After its time, or with another password, a credential is none (Guards: KnownDevice.is_of, KnownDevices.get)."""
    async with run_service(sqlite_url, valkey.url) as service:
        token, password = await known(service), PASSWORD
        if ending == "password set":
            password = NEW_PASSWORD
            request = admin.SetPasswordRequest(user_id=service.user_ids["alice"], password=password)
            await service.admin.SetPassword(request, metadata=service.by("root"))
        if ending == "password changed":
            password = NEW_PASSWORD
            session = (await log_in(service)).session_token
            change = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=password)
            await service.auth.ChangePassword(change, metadata=(("authorization", f"Bearer {session}"),))
        if ending == "time":
            service.clock.move(90 * DAY)
        if ending == "another secret":
            token = token[:4] + "A" + token[5:]
        service.clock.stop()
        await guess(service)

        assert await outcome(log_in(service, password, device_token=token)) == "RATE_LIMITED"


async def test_switched_off(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """A deployment that knows no devices hands out no credentials."""
    async with run_service(sqlite_url, valkey.url, known_device=0) as service:
        assert await known(service) == ""


async def test_failures_outlive_the_cache(database_url: str, own_valkey: EmbeddedValkey) -> None:
    """An account that must wait still must when the cache was emptied, when it is gone, and at an instance that never
    saw it; with the wait over, it is let in (Guard: `at_limit` in PasswordCheck._charge_to)."""
    async with run_service(database_url, own_valkey.url) as service:
        service.clock.stop()
        await service.add_user()
        await guess(service, 11)

        await flush(own_valkey)
        emptied = await outcome(log_in(service, at=ELSEWHERE))
        async with run_service(database_url, "none", clock=service.clock) as another:
            elsewhere = await outcome(log_in(another, at=ELSEWHERE))
        await own_valkey.kill()
        gone = await refusal(log_in(service, at=ELSEWHERE))
        service.clock.move(SECOND)

        assert (emptied, elsewhere) == ("RATE_LIMITED", "RATE_LIMITED")
        assert retry_seconds_of(gone) == 1
        assert await outcome(log_in(service, at=ELSEWHERE)) == "OK"


async def test_the_wait_goes_on_doubling_without_the_cache(
    service_on_own: Service, own_valkey: EmbeddedValkey
) -> None:
    """Emptying the cache over and over starts nothing anew, for a user or for a name that nobody has."""
    service = service_on_own
    service.clock.stop()
    await service.add_user()
    waits: list[tuple[float, float]] = []
    await guess(service, name="alice", at=HOME)
    await guess(service, name="nobody", at=ELSEWHERE)

    for _ in range(4):
        await flush(own_valkey)
        known = await refusal(log_in(service, "quite wrong", name="alice", at=HOME))
        unknown = await refusal(log_in(service, "quite wrong", name="nobody", at=ELSEWHERE))
        waits.append((retry_seconds_of(known), retry_seconds_of(unknown)))
        service.clock.move(int(waits[-1][0] * SECOND))
        await guess(service, 1, name="alice", at=HOME)
        await guess(service, 1, name="nobody", at=ELSEWHERE)

    assert waits == [(1, 1), (2, 2), (4, 4), (8, 8)]


async def test_own_account_excuses_nobody(service: Service) -> None:
    """Logging in to one's own account in between resets neither the network's counter nor another account's.

    (Guard: `mistakes_are_forgiven` and what else succeed.lua takes back.)
    """
    service.clock.stop()
    await service.add_user("mallory")
    await service.add_user()
    found = []

    for number in range(12):
        found += await guess(service, 1, name=f"user{number}")
        await outcome(log_in(service, name="mallory"))
    at_alice = []
    for number in range(12):
        at_alice += await guess(service, 1, at=f"198.51.100.{number}")
        await outcome(log_in(service, name="mallory", at=f"198.51.100.{number}"))

    assert found == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"] * 2
    assert at_alice == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"] * 2


async def test_users_login_excuses_nobody(service: Service) -> None:
    """The user's logging in does not give somebody who guesses from elsewhere a fresh start."""
    service.clock.stop()
    token = await known(service)

    before = await guess(service, 9, at=ELSEWHERE)
    await log_in(service)
    await log_in(service, device_token=token)
    after = await guess(service, 2, at=ELSEWHERE)

    assert before + after == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"]


async def test_slow_guessing_is_slowed_down_further(service: Service) -> None:
    """A hundred failures within a day make everybody wait, however slowly they came (800-63B-4 §3.2.2)."""
    service.clock.stop()
    await service.add_user()
    logins, counters = service.app.stores.logins, counters_of_account("alice", HOME)
    for _ in range(99):
        service.clock.move(6 * MINUTE)
        await logins.fail(counters.lasting, LASTING_LIMITS, service.clock(), AuditEvent("login.failed", 0))

    assert await guess(service, 2) == ["INVALID_CREDENTIALS", "RATE_LIMITED"]


async def test_hash_from_elsewhere(service: Service) -> None:
    """A user brought along with an argon2id hash logs in with the old password, and then has a hash of our own."""
    imported = argon2.PasswordHasher(3, 12_288, 2).hash("an old password")
    request = admin.CreateUserRequest(username="alice", password_hash=imported)
    user = (await service.admin.CreateUser(request, metadata=service.by("root"))).user

    outcomes = [
        await outcome(log_in(service, password))
        for password in ("an old password", "another one", "an old password")
    ]

    assert outcomes == ["OK", "INVALID_CREDENTIALS", "OK"]
    stored = await service.app.stores.users.get_secret("alice")
    assert stored is not None
    assert argon2.extract_parameters(stored.password_hash).memory_cost == 19_456
    again = admin.SetPasswordRequest(user_id=user.id, password_hash=imported)
    await service.admin.SetPassword(again, metadata=service.by("root"))
    assert await outcome(log_in(service, "an old password")) == "OK"


@pytest.mark.parametrize(
    "password_hash", ["$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$UnqbDqOx9UxxgHB0m1tqEA", "$2b$12$x"]
)
@pytest.mark.parametrize("password", ["", PASSWORD])
async def test_hash_from_elsewhere_refused(service: Service, password_hash: str, password: str) -> None:
    """One that would cost 4 GiB to check, one of another kind, or one beside a password is not taken."""
    user_id = await service.add_user()
    create = admin.CreateUserRequest(username="bob", password=password, password_hash=password_hash)
    change = admin.SetPasswordRequest(user_id=user_id, password=password, password_hash=password_hash)

    for call in (
        service.admin.CreateUser(create, metadata=service.by("root")),
        service.admin.SetPassword(change, metadata=service.by("root")),
    ):
        assert fields_of(await refusal(call)) == ["password_hash"]


async def test_hashes_are_sealed(service: Service) -> None:
    """Who has the database alone cannot try passwords against it: the digest is sealed (StoredHashes.seal)."""
    await service.add_user()

    stored = await service.app.stores.users.get_secret("alice")

    assert stored is not None
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(stored.password_hash, PASSWORD)
