"""Keeping connections to PostgreSQL: how many there are, who waits, and that no place is lost."""

import asyncio
from typing import Any

import pytest

from authsvc.stores.sql.stack import Stack


class _Connection:
    def __init__(self) -> None:
        self.closed = False


class _Made:
    """What a stack has made so far; `refuse` lets the next attempt fail."""

    def __init__(self) -> None:
        self.connections: list[_Connection] = []
        self.refuse = False

    async def connect(self) -> _Connection:
        await asyncio.sleep(0)
        if self.refuse:
            raise ConnectionRefusedError
        self.connections.append(_Connection())
        return self.connections[-1]

    async def close(self, connection: _Connection) -> None:
        connection.closed = True


def _stack(made: _Made, size: int = 1, wait_ms: int = 60_000) -> Stack:
    return Stack(made.connect, made.close, lambda connection: bool(connection.closed), size, wait_ms)


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_last_used_first() -> None:
    """The connection used last is lent first, so that in quiet times the others may be closed by the server."""
    made = _Made()
    stack = _stack(made, size=2)
    first, second = await stack.take(), await stack.take()
    stack.give_back(second)
    stack.give_back(first)

    assert await stack.take() is first
    assert len(made.connections) == 2


async def test_no_more_than_its_size() -> None:
    """However many ask at once, no more than `size` connections are lent, and each gets its turn in order."""
    made = _Made()
    stack = _stack(made, size=2)
    order: list[int] = []
    lent = most = 0

    async def borrow(number: int) -> None:
        nonlocal lent, most
        connection = await stack.take()
        lent += 1
        most = max(most, lent)
        order.append(number)
        await asyncio.sleep(0)
        lent -= 1
        stack.give_back(connection)

    await asyncio.gather(*(borrow(number) for number in range(50)))

    assert most == 2
    assert len(made.connections) == 2
    assert order == list(range(50))


async def test_too_long() -> None:
    """Who waits longer than `wait_ms` is told so, and the place then goes to the next one."""
    stack = _stack(_Made(), wait_ms=20)
    connection = await stack.take()

    refused = await asyncio.gather(*(stack.take() for _ in range(3)), return_exceptions=True)
    stack.give_back(connection)

    assert [type(each) for each in refused] == [TimeoutError] * 3
    assert await stack.take() is connection


async def test_those_who_came_later_wait_as_long() -> None:
    """One timer serves all who wait: it goes on for those who came after the first."""
    stack = _stack(_Made(), wait_ms=30)
    await stack.take()
    first = asyncio.create_task(stack.take())
    await asyncio.sleep(0.015)

    with pytest.raises(TimeoutError):
        await stack.take()

    assert isinstance(first.exception(), TimeoutError)


async def test_cancelled_while_waiting() -> None:
    """A waiter who goes away takes no place with it. Guard: `turn.done()` in `_Queue.call_next`."""
    stack = _stack(_Made())
    connection = await stack.take()
    waiting = asyncio.create_task(stack.take())
    await _turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    stack.give_back(connection)

    assert await asyncio.wait_for(stack.take(), 1) is connection


async def test_cancelled_when_its_turn_came() -> None:
    """A waiter who goes away just as it is called passes its place on. Guard: `pass_on` in `_Queue.wait`."""
    stack = _stack(_Made())
    connection = await stack.take()
    waiting = [asyncio.create_task(stack.take()) for _ in range(2)]
    await _turns()

    stack.give_back(connection)
    waiting[0].cancel()

    assert await asyncio.wait_for(waiting[1], 1) is connection
    assert waiting[0].cancelled()


@pytest.mark.parametrize("waits", [False, True])
async def test_connecting_fails(waits: bool) -> None:
    """A failed attempt frees its place, for those who wait too. Guard: `_free_place` in `Stack.take`."""
    made = _Made()
    stack = _stack(made)
    made.refuse = True
    asked = 3 if waits else 1

    failed: list[Any] = await asyncio.gather(*(stack.take() for _ in range(asked)), return_exceptions=True)
    made.refuse = False

    assert [type(each) for each in failed] == [ConnectionRefusedError] * asked
    assert await asyncio.wait_for(stack.take(), 1) is made.connections[0]


async def test_closed_by_the_server() -> None:
    """A connection that the server has closed is not lent again, nor one that was forgotten."""
    made = _Made()
    stack = _stack(made)
    first = await stack.take()
    stack.give_back(first)
    first.closed = True
    second = await stack.take()
    stack.forget(second)

    assert await stack.take() not in (first, second)


async def test_closing() -> None:
    """A closed stack has closed what it kept and lends no more."""
    made = _Made()
    stack = _stack(made)
    stack.give_back(await stack.take())

    await stack.close()

    assert made.connections[0].closed
    with pytest.raises(ConnectionError):
        await stack.take()
