"""How passwords are hashed and checked, in which form hashes are kept, and who gets a turn when many want one."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import argon2
import pytest

from authsvc.core.clock import SECOND
from authsvc.core.errors import InvalidRequest, Overloaded
from authsvc.core.hashing_slots import HashingSlots
from authsvc.core.hashing_threads import HashCost, HashingThreads
from authsvc.core.passwords import PasswordHashing
from authsvc.core.sealing import CannotUnseal, Vault
from authsvc.core.secrets import DeploymentSecrets
from authsvc.core.stored_hashes import VAULT_PURPOSE, StoredHashes, checked_import

OLD, NEW = b"o" * 32, b"n" * 32
WAIT = 5 * SECOND
CHEAP = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$UnqbDqOx9UxxgHB0m1tqEA"


def sealing(*secrets: bytes) -> StoredHashes:
    """Sealing under these secrets, the first current."""
    return StoredHashes(Vault(DeploymentSecrets(secrets), VAULT_PURPOSE, os.urandom))


@pytest.fixture
async def hashing() -> AsyncIterator[PasswordHashing]:
    """Hashing on one thread, with two waiting at most."""
    running = PasswordHashing(sealing(NEW), slots=1, queue=2)
    yield running
    await running.close()


async def test_verifies(hashing: PasswordHashing) -> None:
    """The right password matches its hash, any other does not, and nothing matches nobody's."""
    stored = await hashing.hash("caf\u00e9 and so on", "alice", WAIT)

    assert await hashing.verify(stored, "alice", "cafe\u0301 and so on", WAIT)
    assert not await hashing.verify(stored, "alice", "cafe and so on", WAIT)
    assert not await hashing.verify(None, "", "the password of nobody", WAIT)
    assert not await hashing.verify(None, "", "", WAIT)


async def test_nobody_costs_the_same(hashing: PasswordHashing) -> None:
    """The work for a user that does not exist has the parameters of a real one."""
    stored = await hashing.hash("anything", "alice", WAIT)

    assert argon2.extract_parameters(hashing._nobody) == argon2.extract_parameters(stored)


async def test_useless_without_the_secret(hashing: PasswordHashing) -> None:
    """What is stored verifies nothing by itself, and opens for its own user alone, unchanged (StoredHashes.seal)."""
    stored = await hashing.hash("the password", "alice", WAIT)

    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(stored, "the password")
    for secret, text, user_id in (
        (OLD, stored, "alice"),
        (NEW, stored, "mallory"),
        (NEW, stored.replace("t=2", "t=1"), "alice"),
    ):
        with pytest.raises(CannotUnseal):
            sealing(secret).open(text, user_id)
    assert argon2.PasswordHasher().verify(sealing(NEW).open(stored, "alice"), "the password")


async def test_renewed_when_anything_changes(hashing: PasswordHashing) -> None:
    """A hash is renewed that was made with other parameters, is sealed under an older secret, or not at all."""
    stored = await hashing.hash("the password", "alice", WAIT)
    plain = sealing(NEW).open(stored, "alice")
    dearer = PasswordHashing(sealing(NEW), slots=1, cost=HashCost(20_000, 2))
    moved = PasswordHashing(sealing(OLD, NEW), slots=1)

    assert not hashing.needs_rehash(stored, "alice")
    assert dearer.needs_rehash(stored, "alice")
    assert moved.needs_rehash(stored, "alice")
    assert hashing.needs_rehash(plain, "alice")
    assert await hashing.verify(plain, "alice", "the password", WAIT)
    await dearer.close()
    await moved.close()


@pytest.mark.parametrize(
    "imported",
    [
        CHEAP,
        CHEAP.replace("m=19456,t=2", "m=7168,t=5"),
        CHEAP.replace("m=19456,t=2,p=1", "m=65536,t=3,p=4"),
        argon2.PasswordHasher().hash("by the defaults of argon2-cffi"),
    ],
    ids=["ours", "less memory", "more memory", "the library's"],
)
def test_hashes_that_can_be_taken_over(imported: str) -> None:
    """argon2id as strong as OWASP asks for, and not much dearer than our own, may come from elsewhere."""
    assert checked_import(imported) == imported


@pytest.mark.parametrize(
    "imported",
    [
        "",
        "a password",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        CHEAP.replace("argon2id", "argon2i"),
        CHEAP.replace("argon2id", "argon2d"),
        CHEAP.replace("$v=19", ""),
        CHEAP.replace("v=19", "v=16"),
        CHEAP.replace("m=19456", "m=4194304"),
        CHEAP.replace("m=19456", "m=65537"),
        CHEAP.replace("t=2", "t=4294967295"),
        CHEAP.replace("m=19456,t=2", "m=65536,t=5"),
        CHEAP.replace("m=19456,t=2", "m=7167,t=6"),
        CHEAP.replace("t=2", "t=1"),
        CHEAP.replace("p=1", "p=0"),
        CHEAP.replace("p=1", "p=64"),
        CHEAP.replace("m=19456", "m=-19456"),
        CHEAP.replace("c29tZXNhbHQ", "c2FsdA"),
        CHEAP.replace("UnqbDqOx9UxxgHB0m1tqEA", "UnqbDqOx"),
        CHEAP + "A" * 100,
        CHEAP + "\n",
        CHEAP + "$more",
        " " + CHEAP,
    ],
)
def test_hashes_that_cannot_be_taken_over(imported: str) -> None:
    """Anything else is refused before it is ever computed: nobody imports a hash of 4 GiB (checked_import)."""
    with pytest.raises(InvalidRequest) as refused:
        checked_import(imported)

    assert refused.value.violations[0][0] == "password_hash"


async def test_bounded(hashing: PasswordHashing) -> None:
    """Beyond the slots and the queue the next is refused at once."""
    gate = threading.Event()
    waiting = [asyncio.create_task(run(hashing, gate)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await hashing.hash("x", "alice", 60 * SECOND)

    gate.set()
    await asyncio.gather(*waiting)
    assert refused.value.retry_ms > 0


async def run(hashing: PasswordHashing, gate: threading.Event) -> None:
    """Hold a slot until the gate opens."""
    with hashing.place(60 * SECOND) as place:
        threads = hashing._hasher
        assert isinstance(threads, HashingThreads)
        await hashing._timed(place, lambda: threads._run(gate.wait))


async def test_refused_when_it_would_be_too_late(hashing: PasswordHashing) -> None:
    """Work that would be done only after its caller has gone is not begun."""
    hashing._slots.seconds = 2.0

    with pytest.raises(Overloaded):
        await hashing.hash("x", "alice", SECOND)


async def test_given_up_while_waiting(hashing: PasswordHashing) -> None:
    """Who waits is told as soon as the turn would come too late, not when it comes."""
    gate = threading.Event()
    running = asyncio.create_task(run(hashing, gate))
    await asyncio.sleep(0)
    hashing._slots.seconds = 0.001

    with pytest.raises(Overloaded):
        await hashing.hash("x", "alice", 50)

    gate.set()
    await running


async def test_known_callers_go_first() -> None:
    """Who is known waits behind others who are known and behind no stranger, however many there are."""
    slots, order = HashingSlots(slots=1, queue=8), list[str]()

    async def enter(name: str, ahead: bool) -> None:
        with slots.place(60 * SECOND, ahead) as place:
            async with slots.turn(place):
                order.append(name)
                await asyncio.sleep(0)

    names = [("first", False), *((f"stranger {n}", False) for n in range(4)), ("one", True), ("two", True)]
    await asyncio.gather(*(enter(name, ahead) for name, ahead in names))

    assert order[:3] == ["first", "one", "two"]
    assert len(order) == 7


async def test_strangers_leave_room_for_who_is_known() -> None:
    """A queue full of strangers is full for strangers alone (HashingSlots.place)."""
    slots = HashingSlots(slots=1, queue=0)

    with slots.place(60 * SECOND, ahead=False):
        with pytest.raises(Overloaded), slots.place(60 * SECOND, ahead=False):
            pass
        with slots.place(60 * SECOND, ahead=True):
            pass


async def test_strangers_do_not_make_who_is_known_late() -> None:
    """Whether the turn would come in time depends on those ahead, not on strangers (HashingSlots.place)."""
    slots = HashingSlots(slots=1, queue=8)
    slots.seconds = 1.0

    with slots.place(60 * SECOND, ahead=False), slots.place(60 * SECOND, ahead=False):
        with pytest.raises(Overloaded), slots.place(1500, ahead=False):
            pass
        with slots.place(1500, ahead=True):
            pass


async def test_a_turn_given_up_is_handed_on() -> None:
    """Whoever stops waiting, even in the moment of getting the turn, keeps nobody else from it."""
    slots = HashingSlots(slots=1, queue=99)

    async def enter(seconds: float) -> None:
        with slots.place(60 * SECOND, ahead=False) as place:
            async with slots.turn(place):
                await asyncio.sleep(seconds)

    waiting = [asyncio.create_task(enter(0.001)) for _ in range(50)]
    await asyncio.sleep(0.005)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    await asyncio.wait_for(enter(0), timeout=5)
    assert slots._busy == 0
    assert not any(slots._places.values())


async def test_event_loop_goes_on(hashing: PasswordHashing) -> None:
    """While a password is hashed, everything else goes on."""
    task = asyncio.create_task(hashing.hash("x", "alice", WAIT))
    turns = 0

    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 20
