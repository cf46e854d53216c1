"""Second factors and recovery codes, on each database: what is kept, and who wins when many come at once."""

import asyncio

import pytest

from authsvc.core.clock import HOUR, MINUTE, SECOND
from authsvc.core.model import User
from authsvc.core.second_factor_contract import FREE_GUESSES, GUESSES_MAX, Charged, SealedFactor, SecondFactor
from authsvc.stores.sql import SqlStores
from tests.parts.records import NOW, UNKNOWN_ID, add_user, an_event, an_order, hash_of
from tests.parts.sql import audited

RACERS = 48
ROUNDS = 5
STEP = 59_666_666
CODES = tuple(hash_of(f"recovery code {number}") for number in range(10))


async def confirmed(stores: SqlStores, secret: bytes = b"sealed") -> User:
    """A user with a second factor and ten recovery codes."""
    user = await add_user(stores)
    await stores.second_factors.enrol(user.id, secret, NOW, an_event("enrolled"))
    assert await stores.second_factors.confirm(user.id, secret, STEP, CODES, NOW, an_event("confirmed"))
    return user


async def test_from_enrolment_to_the_end(stores: SqlStores) -> None:
    """A secret is pending, then in force with its recovery codes, then gone; each change has its audit event."""
    user, factors = await add_user(stores), stores.second_factors
    await factors.enrol(user.id, b"sealed", NOW, an_event("enrolled"))
    pending = await factors.get(user.id)
    assert await factors.confirm(user.id, b"sealed", STEP, CODES, NOW + 1, an_event("confirmed"))
    in_force = await factors.get(user.id)
    codes = await factors.count_recovery_codes(user.id)

    assert await factors.delete(user.id, an_event("disabled"))

    assert pending == SecondFactor(user.id, None, None, 0, b"sealed", NOW)
    assert in_force == SecondFactor(user.id, b"sealed", NOW + 1, STEP, None, None)
    assert codes == len(CODES)
    assert await factors.get(user.id) is None
    assert await factors.count_recovery_codes(user.id) == 0
    assert (await audited(stores))[-3:] == ["enrolled", "confirmed", "disabled"]


async def test_another_enrolment_leaves_the_one_in_force(stores: SqlStores) -> None:
    """While another secret is pending, the one in force stays, and so do the recovery codes."""
    user = await confirmed(stores)
    await stores.second_factors.enrol(user.id, b"another", NOW + 1, an_event())

    assert await stores.second_factors.get(user.id) == SecondFactor(
        user.id, b"sealed", NOW, STEP, b"another", NOW + 1
    )
    assert await stores.second_factors.count_recovery_codes(user.id) == len(CODES)


async def test_only_the_newest_enrolment_can_be_confirmed(stores: SqlStores) -> None:
    """A secret that was replaced before it was confirmed never comes into force."""
    user, factors = await add_user(stores), stores.second_factors
    await factors.enrol(user.id, b"first", NOW, an_event())
    await factors.enrol(user.id, b"second", NOW, an_event())

    assert not await factors.confirm(user.id, b"first", STEP, CODES, NOW, an_event("confirmed"))
    assert "confirmed" not in await audited(stores)


async def test_what_is_not_there(stores: SqlStores) -> None:
    """Of users without a second factor nothing is found, and nothing changes."""
    user, factors = await add_user(stores), stores.second_factors
    before = await audited(stores)
    for user_id in (user.id, UNKNOWN_ID, "no id at all"):
        assert await factors.get(user_id) is None
        assert await factors.charge(user_id, NOW) == Charged(None)
        assert not await factors.use_recovery_code(user_id, CODES[0], an_event())
        assert not await factors.delete(user_id, an_event())
    await factors.enrol(user.id, b"sealed", NOW, an_event("enrolled"))

    assert await factors.charge(user.id, NOW) == Charged(None)
    assert await audited(stores) == [*before, "enrolled"]


async def test_enrolments_at_once(stores: SqlStores) -> None:
    """Of many enrolments at once, the first of a user included, one is the last, and none fails."""
    user, factors = await add_user(stores), stores.second_factors
    secrets = [f"secret {racer}".encode() for racer in range(RACERS)]

    await asyncio.gather(*(factors.enrol(user.id, secret, NOW, an_event("enrolled")) for secret in secrets))

    found = await factors.get(user.id)
    assert found is not None
    assert found.pending_secret in secrets
    assert (await audited(stores)).count("enrolled") == RACERS


async def test_one_use_of_a_time_step_wins(stores: SqlStores) -> None:
    """Of 48 uses of one time step exactly one is accepted. (Guard: `last_step <` in _ACCEPT_STEP.)"""
    user = await confirmed(stores)
    for step in range(STEP + 1, STEP + 1 + ROUNDS):
        accepted = await asyncio.gather(
            *(stores.second_factors.accept_step(user.id, b"sealed", step) for _ in range(RACERS))
        )

        assert accepted.count(True) == 1


async def test_steps_only_go_on(stores: SqlStores) -> None:
    """A step at or before the newest one used is never accepted again, nor any of another secret."""
    user, factors = await confirmed(stores), stores.second_factors

    assert not await factors.accept_step(user.id, b"sealed", STEP)
    assert not await factors.accept_step(user.id, b"another", STEP + 1)
    assert await factors.accept_step(user.id, b"sealed", STEP + 2)
    assert not await factors.accept_step(user.id, b"sealed", STEP + 1)


async def test_one_use_of_a_recovery_code_wins(stores: SqlStores) -> None:
    """Of 48 uses of one recovery code exactly one is accepted, with one audit event. (Guard: rows of _USE_CODE.)"""
    user = await confirmed(stores)
    for code in CODES[:ROUNDS]:
        used = await asyncio.gather(
            *(stores.second_factors.use_recovery_code(user.id, code, an_event("used")) for _ in range(RACERS))
        )

        assert used.count(True) == 1
    assert (await audited(stores)).count("used") == ROUNDS
    assert await stores.second_factors.count_recovery_codes(user.id) == len(CODES) - ROUNDS


async def test_recovery_codes_are_the_users_own(stores: SqlStores) -> None:
    """Nobody's recovery code is of use to anybody else."""
    user, other = await confirmed(stores), await confirmed(stores)
    assert await stores.second_factors.replace_recovery_codes(
        other.id, b"sealed", [hash_of("other")], an_event()
    )

    assert not await stores.second_factors.use_recovery_code(user.id, hash_of("other"), an_event())
    assert not await stores.second_factors.use_recovery_code(other.id, CODES[0], an_event())
    assert await stores.second_factors.use_recovery_code(other.id, hash_of("other"), an_event())


async def test_recovery_codes_against_their_replacement(stores: SqlStores) -> None:
    """Using codes and replacing all of them at once never waits in a circle, and leaves the new ones whole or used."""
    user, factors = await confirmed(stores), stores.second_factors
    new = [hash_of(f"new code {number}") for number in range(10)]
    for _ in range(ROUNDS):
        await asyncio.gather(
            *(factors.use_recovery_code(user.id, code, an_event()) for code in CODES),
            *(factors.replace_recovery_codes(user.id, b"sealed", new, an_event()) for _ in range(3)),
            *(factors.accept_step(user.id, b"sealed", STEP + 1) for _ in range(3)),
        )

        assert await factors.count_recovery_codes(user.id) == len(new)
        await factors.replace_recovery_codes(user.id, b"sealed", CODES, an_event())


async def test_guesses_at_once_are_counted_before_they_are_judged(stores: SqlStores) -> None:
    """Of 48 guesses at once no more are judged than are free. (Guard: `blocked_until` in _CHARGE.)"""
    user = await confirmed(stores)

    charged = await asyncio.gather(*(stores.second_factors.charge(user.id, NOW) for _ in range(RACERS)))

    assert sum(each.factor is not None for each in charged) == FREE_GUESSES
    assert {each.wait_ms for each in charged} == {0, 30 * SECOND}


@pytest.mark.parametrize(
    ("failures", "wait_ms"), [(5, 30 * SECOND), (9, 30 * SECOND), (10, 5 * MINUTE), (20, HOUR), (99, HOUR)]
)
async def test_waits_grow(stores: SqlStores, failures: int, wait_ms: int) -> None:
    """The more wrong guesses in a row, the longer until the next."""
    user, now = await confirmed(stores), NOW
    for _ in range(failures):
        now += HOUR
        assert (await stores.second_factors.charge(user.id, now)).factor is not None

    assert await stores.second_factors.charge(user.id, now) == Charged(None, wait_ms)
    assert await stores.second_factors.charge(user.id, now + wait_ms - 1) == Charged(None, 1)
    assert (await stores.second_factors.charge(user.id, now + wait_ms)).factor is not None


async def used_up(stores: SqlStores) -> User:
    """A user of whose code there are no more guesses."""
    user = await confirmed(stores)
    for guess in range(GUESSES_MAX):
        assert (await stores.second_factors.charge(user.id, NOW + guess * HOUR)).factor is not None
    assert await stores.second_factors.charge(user.id, NOW + 1000 * HOUR) == Charged(None, HOUR)
    return user


async def test_no_more_guesses(stores: SqlStores) -> None:
    """After a hundred wrong guesses in a row there are none, however long one waits, until a recovery code is used.
    (Guard: GUESSES_MAX in _CHARGE.)"""
    user = await used_up(stores)

    assert await stores.second_factors.use_recovery_code(user.id, CODES[0], an_event())

    assert (await stores.second_factors.charge(user.id, NOW)).factor is not None


async def test_a_new_password_allows_guesses_again(stores: SqlStores) -> None:
    """Whoever guessed knew the old password; with a new one the count begins anew."""
    user = await used_up(stores)

    await stores.users.set_password(user.id, "$argon2id$second", an_order())

    assert (await stores.second_factors.charge(user.id, NOW)).factor is not None


async def test_an_accepted_step_counts_anew(stores: SqlStores) -> None:
    """Only guesses in a row count: a right one forgives those before."""
    user = await confirmed(stores)
    for _ in range(FREE_GUESSES):
        await stores.second_factors.charge(user.id, NOW)
    assert await stores.second_factors.accept_step(user.id, b"sealed", STEP + 1)

    charged = [await stores.second_factors.charge(user.id, NOW) for _ in range(FREE_GUESSES + 1)]

    assert [each.factor is not None for each in charged] == [True] * FREE_GUESSES + [False]


async def test_resealing(stores: SqlStores) -> None:
    """Sealed secrets are found page by page and replaced, each only if it is still what was read."""
    factors = stores.second_factors
    users = [await confirmed(stores, f"sealed {number}".encode()) for number in range(3)]
    await factors.enrol(users[1].id, b"pending", NOW, an_event())
    first = await factors.list_sealed(2, "")
    rest = await factors.list_sealed(2, first[-1].user_id)

    assert await factors.reseal(users[1].id, b"pending", b"anew")
    assert await factors.reseal(users[1].id, b"sealed 1", b"anew too")
    assert not await factors.reseal(users[1].id, b"sealed 1", b"late")

    expected = {SealedFactor(user.id, f"sealed {number}".encode(), None) for number, user in enumerate(users)}
    expected.remove(SealedFactor(users[1].id, b"sealed 1", None))
    expected.add(SealedFactor(users[1].id, b"sealed 1", b"pending"))
    assert {*first, *rest} == expected
    found = {each.user_id: each for each in await factors.list_sealed(5, "")}
    assert found[users[1].id] == SealedFactor(users[1].id, b"anew too", b"anew")
