"""When the cache may be believed by an instance that does not hear from SQL."""

from collections.abc import Mapping

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.roll import SIGNED_FOR_MS, RollCall, Signature


class Stand:
    """All that a roll call asks, answering what a test says."""

    def __init__(self) -> None:
        self.now = 0
        self.epoch = 3
        self.owes = False
        self.others: dict[str, Signature] = {}
        self.peers = {"me", "b"}
        self.signed = 0
        self.is_down = False

    def __call__(self) -> int:
        return self.now

    async def list(self) -> frozenset[str]:
        if self.is_down:
            raise StoreUnavailable
        return frozenset(self.peers)

    async def sign(self, name: str, epoch: int) -> Mapping[str, Signature]:
        self.signed += 1
        return {name: Signature(epoch, 0), **self.others}

    async def settle(self) -> bool:
        return not self.owes


@pytest.fixture
def stand() -> Stand:
    """Two instances are there, and the other has signed."""
    made = Stand()
    made.others["b"] = Signature(3, 500)
    return made


@pytest.fixture
def roll_call(stand: Stand) -> RollCall:
    """The roll call of an instance called `me`."""
    return RollCall("me", stand, stand, stand, stand)  # type: ignore[arg-type]  # one double for all


async def test_all_there(stand: Stand, roll_call: RollCall) -> None:
    """The roll is complete when whoever SQL names has just signed."""
    await roll_call.call()

    assert roll_call.is_complete()


async def test_nothing_heard_yet(roll_call: RollCall) -> None:
    """Before the first call it is not."""
    assert not roll_call.is_complete()


async def test_somebody_is_missing(stand: Stand, roll_call: RollCall) -> None:
    """An instance that SQL names and the roll does not may be revoking without the cache."""
    stand.peers.add("c")

    await roll_call.call()

    assert not roll_call.is_complete()


async def test_who_was_there_last_counts(stand: Stand, roll_call: RollCall) -> None:
    """Once SQL is silent, those it named last are the ones to be missed."""
    await roll_call.call()
    stand.is_down = True
    stand.others.clear()

    await roll_call.call()

    assert not roll_call.is_complete()


async def test_a_signature_grows_old(stand: Stand, roll_call: RollCall) -> None:
    """A signature counts for three seconds from when it was given, not from when it was read."""
    await roll_call.call()
    stand.now = SIGNED_FOR_MS - 500
    just_good = roll_call.is_complete()

    stand.now += 1

    assert just_good
    assert not roll_call.is_complete()


async def test_a_later_epoch(stand: Stand, roll_call: RollCall) -> None:
    """Who goes by a later epoch has declared cold what we would believe."""
    stand.others["b"] = Signature(4, 0)

    await roll_call.call()

    assert not roll_call.is_complete()


async def test_debtors_do_not_sign(stand: Stand, roll_call: RollCall) -> None:
    """Who owes the cache an end keeps off the roll, so that others miss them."""
    stand.owes = True

    await roll_call.call()

    assert stand.signed == 0
