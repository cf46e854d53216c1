"""Callers that go away at any moment never make another get somebody else's reply.

TEST_CANCELLATIONS: how many calls; 20,000 take half a minute. TEST_SEED: other calls.
"""

import asyncio
import os
from collections import deque
from typing import Any

import pytest

from authsvc.stores.valkey.connection import Connection
from tests.parts.service import Service
from tests.security.cancelling import Cancelling, people_of

CALLS = int(os.environ.get("TEST_CANCELLATIONS", "4000"))
SEED = int(os.environ.get("TEST_SEED", "20"))
USERS = 24
REPLIES_LATE_S = 0.003
# What a call may end with on a machine under load.
_DO_NOT_KNOW = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}


@pytest.fixture(autouse=True)
def slow_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of the cache come a little later, so that many a caller goes away while it waits for one."""
    heard = Connection.data_received

    def heard_late(self: Connection, data: bytes) -> None:
        asyncio.get_running_loop().call_later(REPLIES_LATE_S, heard, self, data)

    monkeypatch.setattr(Connection, "data_received", heard_late)


async def test_no_reply_names_another_user(service: Service) -> None:
    """Of thousands of calls for many users over several channels, a third cancelled at random, no reply is another's.

    Guard: `stores/valkey/connection.py:Connection.data_received` keeps the place of a caller who was cancelled.
    """
    people = await people_of(service, USERS)

    found = await Cancelling(service, people, SEED).run(CALLS)

    assert found.strangers == [], SEED
    assert found.ends.keys() <= {"OK", "cancelled", *_DO_NOT_KNOW}, (SEED, found.ends)
    assert found.ends["cancelled"] > CALLS / 10
    assert found.ends["OK"] > CALLS / 10


async def test_mixed_replies_are_seen(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can see what it looks for: over a connection that forgets cancelled callers it goes red."""
    people = await people_of(service, USERS)
    monkeypatch.setattr(Connection, "send", _forgetting(Connection.send))

    found = await Cancelling(service, people, SEED).run(1_000)

    assert found.strangers != []


def _forgetting(send: Any) -> Any:
    """What some clients do: whoever is cancelled leaves the queue, so all behind get the reply before theirs."""

    def forgetful(self: Connection, *command: Any) -> Any:
        reply = send(self, *command)

        def leave(done: Any) -> None:
            if done.cancelled():
                self._pending = deque(each for each in self._pending if each[0] is not done)

        reply.add_done_callback(leave)
        return reply

    return forgetful
