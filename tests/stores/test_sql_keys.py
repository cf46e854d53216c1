"""The signing key store and the audit log, on each database."""

import asyncio

from sqlalchemy import select

from authsvc.core.model import Device, KeyState
from authsvc.stores.sql import SqlStores
from authsvc.stores.sql.schema import audit_events, signing_keys
from tests.parts.records import NOW, a_signing_key, an_event
from tests.parts.sql import audited


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """A signing key comes back as it was, and counts as a change of keys."""
    key = a_signing_key()
    before = await stores.log.position()

    created = await stores.keys.create_active(key, an_event())

    assert created
    assert await stores.keys.list() == [key]
    assert (await stores.log.position()).registry == before.registry + 1


async def test_one_active_key(stores: SqlStores) -> None:
    """Of many instances that start at once, one makes the active key; the others change nothing."""
    created = await asyncio.gather(
        *(stores.keys.create_active(a_signing_key(), an_event("key.created")) for _ in range(8))
    )

    assert sorted(created) == [False] * 7 + [True]
    assert len(await stores.keys.list()) == 1
    assert await audited(stores) == ["key.created"]


async def test_retired_are_not_listed(stores: SqlStores) -> None:
    """The list has every key but the retired ones, newest first."""
    states = [KeyState.RETIRED, KeyState.RETIRING, KeyState.ACTIVE, KeyState.PREPARED, KeyState.TAINTED]
    async with stores.database.write() as transaction:
        for age, state in enumerate(states):
            await transaction.run(
                signing_keys.insert().values(
                    id=str(age),
                    algorithm="ES256",
                    state=state.value,
                    public_jwk="{}",
                    sealed_private=b"",
                    created_at=NOW + age,
                )
            )

    listed = await stores.keys.list()

    assert [key.state for key in listed] == list(reversed(states[1:]))


async def test_events_are_whole(stores: SqlStores) -> None:
    """An event is written with all its parts, however odd the text that a caller sent."""
    device = Device("192.0.2.1", "agent \0 \ud800 ☃", "label")

    await stores.audit.record(
        an_event("login.failed", actor="web", user_id="odd \0 id", device=device, reason="no")
    )

    [row] = await stores.database.read(select(*(column for column in audit_events.c if column.name != "id")))
    assert tuple(row) == (
        "login.failed", NOW, "web", "odd � id", "", "", "192.0.2.1", "agent � ? ☃", "label", "no",
    )  # fmt: skip
