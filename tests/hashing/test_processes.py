"""Hashing in processes of its own: they hash, give way, die without taking anything along, and end with their owner."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import argon2
import psutil
import pytest

from authsvc.core.errors import Overloaded
from authsvc.core.hashing_threads import HashCost
from authsvc.hashing.processes import HashingFailed, HashingProcesses
from tests.parts.processes import until

COST = HashCost()
OWNER = """
import asyncio
from authsvc.core.hashing_threads import HashCost
from authsvc.hashing.processes import HashingProcesses
async def own():
    hashing = HashingProcesses(2, HashCost())
    await hashing.start()
    print(await hashing.hash("x"), flush=True)
    await asyncio.sleep(60)
asyncio.run(own())
"""


def children(of: int | None = None) -> list[psutil.Process]:
    """The processes that hash for a process, for this one if none is named."""
    return [each for each in psutil.Process(of).children() if "child.py" in " ".join(each.cmdline())]


@pytest.fixture
async def hashing() -> AsyncIterator[HashingProcesses]:
    """Two processes."""
    running = HashingProcesses(2, COST)
    await running.start()
    yield running
    await running.close()
    assert children() == []


async def test_hashes(hashing: HashingProcesses) -> None:
    """A hash is argon2's, at the cost asked for; the right password matches it and no other does."""
    made = await hashing.hash("caf\u00e9, \0 and so on")

    found = argon2.extract_parameters(made)
    assert (found.memory_cost, found.time_cost, found.type) == (19_456, 2, argon2.Type.ID)
    assert argon2.PasswordHasher().verify(made, "caf\u00e9, \0 and so on")
    assert await hashing.matches(made, "caf\u00e9, \0 and so on")
    assert not await hashing.matches(made, "cafe, \0 and so on")
    assert not await hashing.matches(made, "")


async def test_many_at_once(hashing: HashingProcesses) -> None:
    """Whoever asks gets the answer to their own question, also when those before have gone away."""
    made = await asyncio.gather(*(hashing.hash(f"password {number}") for number in range(8)))
    given_up = [asyncio.ensure_future(hashing.hash("nobody waits")) for _ in range(2)]
    await asyncio.sleep(0.005)
    for task in given_up:
        task.cancel()

    right = await asyncio.gather(
        *(hashing.matches(each, f"password {number}") for number, each in enumerate(made))
    )
    wrong = await asyncio.gather(*(hashing.matches(each, "password 8") for each in made))

    assert (right, wrong) == ([True] * 8, [False] * 8)


async def test_a_hash_that_is_none(hashing: HashingProcesses) -> None:
    """What argon2 cannot read is a failure, neither yes nor no, and the process goes on."""
    with pytest.raises(HashingFailed):
        await hashing.matches("no hash", "x")

    assert await hashing.hash("x")


async def test_gives_way(hashing: HashingProcesses) -> None:
    """The processes leave the CPU to everybody else, and know no secret: nothing of the environment."""
    for each in children():
        assert os.sched_getscheduler(each.pid) == os.SCHED_IDLE
        assert each.environ() == {}
        assert each.cmdline()[1:3] == ["-I", "-S"]


async def test_killed(hashing: HashingProcesses) -> None:
    """Whoever waits for a process that is killed is told to come back, and another takes its place."""
    asked = [asyncio.ensure_future(hashing.hash("x")) for _ in range(2)]
    await asyncio.sleep(0.005)
    for each in children():
        each.send_signal(signal.SIGKILL)
    ends = await asyncio.gather(*asked, return_exceptions=True)

    again = await asyncio.gather(*(hashing.hash("x") for _ in range(4)))

    assert all(isinstance(end, Overloaded) for end in ends)
    assert len(again) == 4


async def test_signals_are_for_the_owner(hashing: HashingProcesses) -> None:
    """What is sent to everybody does not stop what is under way."""
    for each in children():
        each.send_signal(signal.SIGTERM)
        each.send_signal(signal.SIGINT)

    assert len(await asyncio.gather(*(hashing.hash("x") for _ in range(4)))) == 4


def test_ends_with_its_owner() -> None:
    """Where the owner is killed nothing is left behind."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline()
        hashers = children(owner.pid)
        owner.kill()

    assert len(hashers) == 2
    until(lambda: not any(each.is_running() and each.status() != "zombie" for each in hashers))
