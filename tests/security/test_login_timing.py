"""How long a refused login takes tells nothing: unknown user, wrong password, disabled account; waiting or not there.

Calls of all kinds are made in random order through the front door, and every pair is compared: drawn at random, how
often is one kind slower than the other (the area under the ROC curve)? 0.5 is no telling; standards ask for at most
0.55 over 2,000 of each, which takes minutes of argon2: AUTHSVC_LONG_TESTS=1. Always run: fewer, with three standard
errors more, which chance exceeds less than once in ten thousand times; and with hashing made cheap, where everything
but the hashing shows more clearly.

Guards: `_nobody` in PasswordHashing.verify_in, `fail` for every name in PasswordCheck._failed, `disabled_at` judged
after the hash in PasswordCheck._matches.
"""

import itertools
import math
import os
import random
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import argon2
import pytest

from authsvc.core.clock import SECOND
from authsvc.core.model import User
from authsvc.core.sealing import Vault
from authsvc.core.stored_hashes import VAULT_PURPOSE, StoredHashes
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql.rows import user_values
from authsvc.stores.sql.users import _INSERT
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.records import new_id
from tests.parts.service import PASSWORD, Service, outcome, run_service

LONG = os.environ.get("AUTHSVC_LONG_TESTS") == "1"
REAL = 2_000 if LONG else 60
CHEAP = 2_000 if LONG else 500
AUC_MAX = 0.55
KINDS = ("wrong", "unknown", "disabled")


def bound(count: int) -> float:
    """What the area may be at most: the standards' bound, and of small samples three standard errors more."""
    if count >= 2_000:
        return AUC_MAX
    return AUC_MAX + 3 * math.sqrt((2 * count + 1) / (12 * count * count))


def area(one: Sequence[float], other: Sequence[float]) -> float:
    """How often a value of the one is above one of the other, or below: whichever is more (Mann-Whitney)."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(place for place, (_, which) in enumerate(ranked, start=1) if which == 0)
    above = (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))
    return max(above, 1 - above)


async def add_users(service: Service, count: int, hasher: argon2.PasswordHasher) -> None:
    """So many users and as many disabled ones, each with PASSWORD. One hash serves all, sealed for each."""
    app = service.app
    hashes = StoredHashes(Vault(app.settings.secrets, VAULT_PURPOSE, os.urandom))
    password_hash = hasher.hash(PASSWORD)
    now = service.clock()
    async with app.stores.database.write() as transaction:
        for kind, number in itertools.product(("wrong", "disabled"), range(count)):
            name = f"{kind}{number}"
            user = User(new_id(), name, (), now, now if kind == "disabled" else None, now)
            stored = hashes.seal(password_hash, user.id)
            await transaction.run(_INSERT, user_values(user, name, stored))


def refused(service: Service, name: str) -> Any:
    """A login that cannot succeed."""
    request = pb.LoginRequest(username=name, password="quite wrong")
    return service.auth.Login(request, metadata=service.by("web"))


async def times(service: Service, count: int) -> dict[str, list[float]]:
    """How long each of so many refused logins took, by kind, in random order."""
    order = [(kind, number) for kind in KINDS for number in range(count)]
    random.Random(20).shuffle(order)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, number in order:
        service.clock.move(SECOND)  # so that nobody has to wait
        call = refused(service, f"{kind}{number}")
        begun = perf_counter()
        found = await outcome(call)
        taken[kind].append(perf_counter() - begun)
        assert found == "INVALID_CREDENTIALS"
    return taken


def check(taken: dict[str, list[float]]) -> None:
    """No two kinds may be told apart."""
    for one, other in itertools.combinations(taken, 2):
        found = area(taken[one], taken[other])
        assert found <= bound(len(taken[one])), f"{one} and {other} are told apart: {found:.3f}"


async def test_real_hashing(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """As deployed: nobody tells by the clock who exists, or who is disabled."""
    async with run_service(sqlite_url, valkey.url) as service:
        await add_users(service, REAL, service.app._passwords._judge)

        check(await times(service, REAL))


async def test_cheap_hashing(
    sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the hashing made cheap, what is left of a login tells no more."""
    cheap = argon2.PasswordHasher(1, 64, 1)
    async with run_service(sqlite_url, valkey.url) as service:
        passwords = service.app._passwords
        monkeypatch.setattr(passwords._hasher, "_hasher", cheap)
        monkeypatch.setattr(passwords, "_judge", cheap)
        monkeypatch.setattr(passwords, "_nobody", passwords._stored.seal(cheap.hash("nobody's"), "nobody"))
        await add_users(service, CHEAP, cheap)

        check(await times(service, CHEAP))


async def test_who_must_wait(service: Service) -> None:
    """Where an account must wait, it takes as long to say so whether or not there is one."""
    await service.add_user()
    service.clock.stop()
    for name in ("alice", "nobody"):
        for _ in range(10):
            await outcome(refused(service, name))
    taken: dict[str, list[float]] = {"alice": [], "nobody": []}
    order = [*taken] * CHEAP
    random.Random(20).shuffle(order)

    for name in order:
        call = refused(service, name)
        begun = perf_counter()
        assert await outcome(call) == "RATE_LIMITED"
        taken[name].append(perf_counter() - begun)

    check(taken)


def test_the_measure() -> None:
    """The measure tells what can be told, and only that."""
    same = list(range(1000))

    assert area(same, same) == pytest.approx(0.5, abs=0.01)
    assert area(same, [value + 0.5 for value in same]) < 0.51
    assert area(same, [value + 2000 for value in same]) == 1
    assert bound(2_000) == AUC_MAX
