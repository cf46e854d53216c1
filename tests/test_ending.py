"""Ending what runs in the background."""

import asyncio

from authsvc.background import end_tasks


async def test_a_lost_cancellation_is_sent_again() -> None:
    """A task that loses a cancellation, as some libraries do, cannot keep an instance from stopping."""
    task = asyncio.create_task(_lose_one_cancellation())
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end_tasks([task])

    assert task.cancelled()


async def _lose_one_cancellation() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_how_tasks_end_is_their_own_affair() -> None:
    """Neither a task that has failed nor one that has ended before disturbs the ending of the others."""
    failed, ended = asyncio.create_task(_fail()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait((failed, ended))

    await end_tasks([failed, ended, asyncio.create_task(asyncio.sleep(60))])

    assert isinstance(failed.exception(), ValueError)


async def _fail() -> None:
    raise ValueError
