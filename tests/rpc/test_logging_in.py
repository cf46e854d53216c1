"""Logging in: what a failed attempt tells and costs, what a good one gives, and how guessing is slowed down."""

import asyncio
import base64
import json
from typing import Any

import argon2
import grpc
import pytest
import redis.asyncio

from authsvc.core.clock import SECOND
from authsvc.core.login_counters import counters_of_account
from authsvc.core.passwords import PasswordHashing
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import CREDENTIAL_SESSION, CREDENTIAL_TOKENS, Device
from tests.parts.counting import Statements, commands, settled
from tests.parts.service import (
    PASSWORD,
    Service,
    outcome,
    reason_of,
    refusal,
    retry_seconds_of,
    run_service,
)
from tests.parts.sql import audited


def attempt(
    service: Service, username: str, password: str = "quite wrong", ip_address: str = "192.0.2.1"
) -> Any:
    """Try to log in from an address."""
    request = pb.LoginRequest(username=username, password=password, device=Device(ip_address=ip_address))
    return service.auth.Login(request, metadata=service.by("web"))


async def guess(service: Service, username: str, times: int, ip_address: str = "192.0.2.1") -> list[str]:
    """Guess wrongly so many times."""
    return [await outcome(attempt(service, username, ip_address=ip_address)) for _ in range(times)]


@pytest.fixture
async def three(service: Service) -> Service:
    """An instance with a user, a disabled one, and none named `nobody`."""
    await service.add_user("alice")
    disabled = admin.DisableUserRequest(user_id=await service.add_user("disabled"))
    await service.admin.DisableUser(disabled, metadata=service.by("root"))
    return service


FAILURES = {
    "wrong password": ("alice", "quite wrong"),
    "unknown user": ("nobody", "quite wrong"),
    "disabled, right password": ("disabled", PASSWORD),
    "disabled, wrong password": ("disabled", "quite wrong"),
    "empty password": ("alice", ""),
    "unknown user, empty password": ("nobody", ""),
}


async def test_same_answer(three: Service) -> None:
    """Unknown user, wrong password, disabled account: the same status in the same bytes."""
    answers = set()
    for username, password in FAILURES.values():
        error = await refusal(attempt(three, username, password))
        answers.add(
            (error.code(), error.details(), str(error.initial_metadata()), str(error.trailing_metadata()))
        )

    assert len(answers) == 1
    assert answers.pop()[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_same_work(
    three: Service, inside: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cost the same: one password verification at the same parameters, the same statements, the same commands."""
    verified: list[argon2.Parameters] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, stored: str, password: str) -> bool:
        verified.append(argon2.extract_parameters(stored))
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    await settled(three)
    statements, work = Statements(three, monkeypatch), set()

    for username, password in FAILURES.values():
        verified.clear()
        statements.clear()
        before = await commands(inside)
        await outcome(attempt(three, username, password))
        done = sorted((await commands(inside) - before).items())
        work.add(str((verified, statements.reads, statements.writes, done)))

    assert len(work) == 1
    assert work.pop().count("Parameters(") == 1


async def test_same_trace(three: Service) -> None:
    """Each failure leaves one audit event, which names a user only if there is one."""
    for username, password in FAILURES.values():
        await outcome(attempt(three, username, password))

    assert (await audited(three.app.stores)).count("login.failed") == len(FAILURES)


async def test_passwords_are_hashed_as_owasp_asks(service: Service) -> None:
    """The stored hash carries parameters at or above m=19456 KiB, t=2, p=1."""
    await service.add_user()

    secret = await service.app.stores.users.get_secret("alice")

    assert secret is not None
    found = argon2.extract_parameters(secret.password_hash)
    assert (found.type, found.memory_cost >= 19_456, found.time_cost >= 2) == (
        argon2.low_level.Type.ID,
        True,
        True,
    )


async def test_old_hash_is_renewed(service: Service) -> None:
    """A hash made with other parameters is replaced at the next login, and the password stays good."""
    await service.add_user()
    weak = argon2.PasswordHasher(1, 8192, 1).hash(PASSWORD)
    before = await service.app.stores.users.get_secret("alice")
    assert before is not None
    await service.app.stores.users.rehash(before.user.id, before.password_hash, weak)

    await service.login()

    after = await service.app.stores.users.get_secret("alice")
    assert after is not None
    assert after.password_hash not in (before.password_hash, weak)
    assert await outcome(attempt(service, "alice", PASSWORD)) == "OK"


@pytest.mark.parametrize("typed", ["alice", "ALICE", "Alice", "\uff41lice"])
async def test_names_are_compared_folded(service: Service, typed: str) -> None:
    """Spellings of one name that look alike are one name."""
    await service.add_user("Alice")

    assert await outcome(attempt(service, typed, PASSWORD)) == "OK"


async def test_password_is_normalised(service: Service) -> None:
    """A password typed on another keyboard, the same characters composed otherwise, is the same password."""
    create = admin.CreateUserRequest(username="zoe", password="caf\u00e9 with enough letters")
    await service.admin.CreateUser(create, metadata=service.by("root"))

    assert await outcome(attempt(service, "zoe", "cafe\u0301 with enough letters")) == "OK"


async def test_credentials(service: Service) -> None:
    """A login issues what was asked for and nothing else; both if nothing was said."""
    both = await service.login()
    session = await service.login(credentials=[CREDENTIAL_SESSION])
    tokens = await service.login(credentials=[CREDENTIAL_TOKENS])

    assert both.session_token.startswith("ats_")
    assert both.tokens.refresh_token.startswith("atr_")
    assert session.session_token
    assert not session.HasField("tokens")
    assert not session.session.HasField("refresh_expire_time")
    assert not tokens.session_token
    assert tokens.tokens.access_token
    assert not tokens.session.HasField("session_expire_time")
    assert not both.HasField("challenge")


async def test_access_token_says(service: Service) -> None:
    """An access token says what RFC 9068 asks for, and nothing personal."""
    login = await service.login(
        device=Device(ip_address="192.0.2.1", user_agent="a browser", label="the kitchen")
    )

    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in login.tokens.access_token.split(".")[:2]
    )

    assert set(header) == {"alg", "kid", "typ"}
    assert header["typ"] == "at+jwt"
    assert set(payload) == {
        "iss", "sub", "aud", "client_id", "iat", "exp", "jti", "sid", "scope", "auth_time", "acr", "amr",
    }  # fmt: skip
    assert (payload["sub"], payload["sid"]) == (login.session.user_id, login.session.id)
    assert "alice" not in json.dumps(payload)
    assert len(login.tokens.access_token) <= 2048


async def test_who_sees_the_name(service: Service) -> None:
    """The client that logs users in sees their names; one that only introspects does not."""
    login = await service.login()

    validated = await service.validate(login.session_token)

    assert login.session.username == "alice"
    assert validated.session.username == ""


async def test_account_is_slowed_down(service: Service) -> None:
    """From the tenth failure on an account must wait, with a word on how long; the right password must wait too."""
    service.clock.stop()
    await service.add_user()

    found = await guess(service, "alice", 10)
    error = await refusal(attempt(service, "alice", PASSWORD, "203.0.113.7"))

    assert found == ["INVALID_CREDENTIALS"] * 10
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert retry_seconds_of(error) == 1.0
    service.clock.move(SECOND)
    assert await outcome(attempt(service, "alice", PASSWORD, "203.0.113.7")) == "OK"


async def test_wait_doubles(service: Service) -> None:
    """Each further failure doubles the wait: back-off, not lock-out."""
    service.clock.stop()
    await service.add_user()
    await guess(service, "alice", 10)
    waits = []

    for _ in range(5):
        wait = retry_seconds_of(await refusal(attempt(service, "alice")))
        service.clock.move(int(wait * SECOND))
        await guess(service, "alice", 1)
        waits.append(wait)

    assert waits == [1, 2, 4, 8, 16]


async def test_unknown_account_is_slowed_down_alike(service: Service) -> None:
    """Being slowed down does not tell whether there is such a user."""
    await service.add_user()

    known = await guess(service, "alice", 12)
    unknown = await guess(service, "nobody", 12, ip_address="192.0.2.2")

    assert known == unknown
    assert known[-1] == "RATE_LIMITED"


async def test_success_forgets_failures(service: Service) -> None:
    """After a good login an account's failures are forgotten."""
    await service.add_user()
    await guess(service, "alice", 9)
    assert await outcome(attempt(service, "alice", PASSWORD)) == "OK"

    found = await guess(service, "alice", 9, ip_address="203.0.113.9")

    assert found == ["INVALID_CREDENTIALS"] * 9


async def test_network_is_slowed_down(service: Service) -> None:
    """From the tenth failure on a network must wait, whichever accounts it tries; other networks need not."""
    found = [await outcome(attempt(service, f"user{number}")) for number in range(11)]

    assert found == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"]
    assert await outcome(attempt(service, "user99", ip_address="203.0.113.1")) == "INVALID_CREDENTIALS"


async def test_ipv6_network_is_a_64(service: Service) -> None:
    """An IPv6 network is a /64: a new address in it is no new start."""
    found = [
        await outcome(attempt(service, f"user{number}", ip_address=f"2001:db8::{number + 1:x}"))
        for number in range(11)
    ]

    assert found[-1] == "RATE_LIMITED"
    assert await outcome(attempt(service, "other", ip_address="2001:db8:0:1::1")) == "INVALID_CREDENTIALS"


async def test_everybody_is_slowed_down(service: Service, inside: "redis.asyncio.Redis") -> None:
    """A flood over many accounts and networks is slowed down as a whole, and successes do not count towards it."""
    everybody = counters_of_account("anybody", "").throttle[-1:]
    throttle = service.app.cache.throttle
    assert throttle is not None
    for _ in range(everybody[0].limit - 2):
        assert await throttle.hit(everybody, service.clock()) == 0

    good = [await outcome(attempt(service, name, PASSWORD)) for name in await _users(service)]
    bad = [
        await outcome(attempt(service, f"user{number}", ip_address=f"198.51.100.{number}"))
        for number in range(3)
    ]

    assert good == ["OK"] * 4
    assert bad == ["INVALID_CREDENTIALS"] * 2 + ["RATE_LIMITED"]


async def _users(service: Service) -> list[str]:
    names = [f"friend{number}" for number in range(4)]
    for name in names:
        await service.add_user(name)
    return names


async def test_guesses_at_once_do_not_slip_by(service: Service) -> None:
    """Of 40 guesses at once no more are checked than the limit allows: an attempt is charged before it is checked."""
    service.clock.stop()
    await service.add_user()

    found = await asyncio.gather(*(outcome(attempt(service, "alice")) for _ in range(40)))

    assert found.count("INVALID_CREDENTIALS") <= 10
    assert set(found) <= {"INVALID_CREDENTIALS", "RATE_LIMITED", "OVERLOADED"}


@pytest.mark.parametrize("cache", ["none", "dead"])
async def test_slowed_down_without_cache(sqlite_url: str, own_valkey: EmbeddedValkey, cache: str) -> None:
    """Without the cache each instance counts alone: throttling never switches off."""
    async with run_service(sqlite_url, "none" if cache == "none" else own_valkey.url) as service:
        await own_valkey.kill()
        await service.add_user()

        found = await guess(service, "alice", 11)

        assert found == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"]


async def test_instances_count_together(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Failures at one instance count at the other."""
    async with run_service(sqlite_url, valkey.url) as one, run_service(sqlite_url, valkey.url) as other:
        await guess(one, "alice", 5)
        await guess(other, "alice", 5)

        assert await guess(one, "alice", 1) == ["RATE_LIMITED"]


async def test_address_of_the_peer(service: Service) -> None:
    """A registered client's word on the user's address is taken; without it, the peer's own is recorded."""
    said = await service.login(device=Device(ip_address="192.0.2.44"))
    unsaid = await service.login()

    assert said.session.device.ip_address == "192.0.2.44"
    assert unsaid.session.device.ip_address == "127.0.0.1"


async def test_hashing_is_bounded(sqlite_url: str) -> None:
    """Logins beyond what can be hashed in their time are refused at once, with a word on when to come back."""
    async with run_service(sqlite_url, "none", password_slots=1) as service:
        hashing: PasswordHashing = service.app._passwords
        hashing._slots.seconds = 1.0
        request = pb.LoginRequest(username="alice", password="x")

        error = await refusal(service.auth.Login(request, metadata=service.by("web"), timeout=0.5))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert retry_seconds_of(error) > 0
