"""The signing key store and the audit log, on each database."""

import asyncio
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from authsvc.core.clock import DAY
from authsvc.core.contracts import TaintOrder
from authsvc.core.model import Device, KeyState, Revocation, SigningKey, Subject
from authsvc.stores.sql import SqlStores
from authsvc.stores.sql.schema import audit_events
from tests.parts.records import NOW, a_signing_key, an_event
from tests.parts.sql import audited

AT_ONCE = 8


async def active_and_prepared(stores: SqlStores) -> tuple[SigningKey, SigningKey]:
    """Put a key that signs and the one to follow it into the store."""
    active = a_signing_key(active_at=NOW)
    prepared = a_signing_key(state=KeyState.PREPARED, created_at=NOW + 1)
    assert await stores.keys.create_active(active, an_event("key.created"))
    assert await stores.keys.prepare(prepared, an_event("key.created"))
    return active, prepared


async def states(stores: SqlStores) -> dict[str, KeyState]:
    """The state of every key."""
    return {key.id: key.state for key in await stores.keys.list(retired=True)}


async def registry(stores: SqlStores) -> int:
    """How often clients and keys have changed."""
    return (await stores.log.position()).registry


def a_taint(**changes: Any) -> TaintOrder:
    """An order to distrust a key."""
    order = TaintOrder(NOW + 5, "stolen", NOW + 3_650 * DAY, an_event("key.tainted"))
    return replace(order, **changes)


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """A signing key comes back as it was, and counts as a change of keys."""
    key = a_signing_key()
    before = await registry(stores)

    created = await stores.keys.create_active(key, an_event())

    assert created
    assert await stores.keys.list() == [key]
    assert await registry(stores) == before + 1


async def test_one_active_key(stores: SqlStores) -> None:
    """Of many instances that start at once, one makes the active key; the others change nothing."""
    created = await asyncio.gather(
        *(stores.keys.create_active(a_signing_key(), an_event("key.created")) for _ in range(AT_ONCE))
    )

    assert sorted(created) == [False] * (AT_ONCE - 1) + [True]
    assert len(await stores.keys.list()) == 1
    assert await audited(stores) == ["key.created"]


async def test_one_prepared_key(stores: SqlStores) -> None:
    """Of many instances that find no prepared key, one prepares one."""
    made = [a_signing_key(state=KeyState.PREPARED) for _ in range(AT_ONCE)]

    prepared = await asyncio.gather(*(stores.keys.prepare(key, an_event("key.created")) for key in made))

    assert sorted(prepared) == [False] * (AT_ONCE - 1) + [True]
    assert len(await stores.keys.list()) == await registry(stores) == 1
    assert await audited(stores) == ["key.created"]


async def test_one_activates(stores: SqlStores) -> None:
    """Of many instances that find it is time, one lets the prepared key sign; the old one loses its private half."""
    active, prepared = await active_and_prepared(stores)

    done = await asyncio.gather(
        *(stores.keys.activate(prepared.id, NOW + 9, an_event("key.activated")) for _ in range(AT_ONCE))
    )

    assert sorted(done) == [False] * (AT_ONCE - 1) + [True]
    assert await stores.keys.list() == [
        replace(prepared, state=KeyState.ACTIVE, active_at=NOW + 9),
        replace(active, state=KeyState.RETIRING, retiring_at=NOW + 9, sealed_private=b""),
    ]
    assert (await audited(stores)).count("key.activated") == 1


async def test_what_is_not_prepared_is_not_activated(stores: SqlStores) -> None:
    """To activate anything but a prepared key changes nothing: there is never a moment without an active key."""
    active, prepared = await active_and_prepared(stores)
    before = await registry(stores)

    done = [await stores.keys.activate(each, NOW, an_event()) for each in (active.id, "unknown", "odd \0 id")]

    assert done == [False, False, False]
    assert await states(stores) == {active.id: KeyState.ACTIVE, prepared.id: KeyState.PREPARED}
    assert await registry(stores) == before


async def test_a_plan_is_for_a_prepared_key(stores: SqlStores) -> None:
    """From when a prepared key is to sign can be said; of any other it cannot."""
    active, prepared = await active_and_prepared(stores)

    planned = [await stores.keys.plan(key.id, NOW + 7, an_event("planned")) for key in (prepared, active)]

    assert planned == [True, False]
    assert await stores.keys.list() == [replace(prepared, active_at=NOW + 7), active]
    assert (await audited(stores)).count("planned") == 1


async def test_retire(stores: SqlStores) -> None:
    """A key is retired once it stopped signing long enough ago, by one of many; then it is listed only on demand."""
    active, prepared = await active_and_prepared(stores)
    await stores.keys.activate(prepared.id, NOW + 9, an_event())

    too_early = await stores.keys.retire(NOW + 9, an_event("key.retired"))
    done = await asyncio.gather(
        *(stores.keys.retire(NOW + 10, an_event("key.retired")) for _ in range(AT_ONCE))
    )

    assert not too_early
    assert sorted(done) == [False] * (AT_ONCE - 1) + [True]
    assert [key.id for key in await stores.keys.list()] == [prepared.id]
    assert (await states(stores))[active.id] is KeyState.RETIRED
    assert (await audited(stores)).count("key.retired") == 1


async def test_taint_of_the_active_key(stores: SqlStores) -> None:
    """A tainted key is in the log, by the next number; it has no private half; the prepared key signs in its place."""
    active, prepared = await active_and_prepared(stores)

    entry = await stores.keys.taint(active.id, a_taint())

    assert entry == Revocation(1, Subject.KEY, active.id, None, NOW + 3_650 * DAY)
    assert await stores.log.list_since(0, 10) == [entry]
    assert await stores.keys.list() == [
        replace(prepared, state=KeyState.ACTIVE, active_at=NOW + 5),
        replace(
            active,
            state=KeyState.TAINTED,
            tainted_at=NOW + 5,
            taint_revision=1,
            taint_comment="stolen",
            sealed_private=b"",
        ),
    ]
    assert (await audited(stores))[-1] == "key.tainted"


async def test_taint_without_a_prepared_key(stores: SqlStores) -> None:
    """Where no key is prepared, a taint does not wait for one: then there is room for a new active key."""
    active, successor = a_signing_key(), a_signing_key()
    await stores.keys.create_active(active, an_event())

    entry = await stores.keys.taint(active.id, a_taint())
    created = await stores.keys.create_active(successor, an_event())

    assert entry is not None
    assert created
    assert await states(stores) == {active.id: KeyState.TAINTED, successor.id: KeyState.ACTIVE}


async def test_taint_of_other_keys(stores: SqlStores) -> None:
    """Keys that do not sign can be tainted too, in every state; the active one goes on, and an unknown one is none."""
    active, prepared = await active_and_prepared(stores)
    await stores.keys.activate(prepared.id, NOW, an_event())
    await stores.keys.retire(NOW + 1, an_event())
    follower = a_signing_key(state=KeyState.PREPARED)
    await stores.keys.prepare(follower, an_event())

    entries = [await stores.keys.taint(each, a_taint()) for each in (active.id, follower.id, "unknown")]

    assert [entry and entry.revision for entry in entries] == [1, 2, None]
    assert await states(stores) == {
        active.id: KeyState.TAINTED,
        prepared.id: KeyState.ACTIVE,
        follower.id: KeyState.TAINTED,
    }


async def test_taint_once(stores: SqlStores) -> None:
    """Of many that taint a key at once, one does; the others get the same revision, and no second key is used up."""
    active, prepared = await active_and_prepared(stores)

    entries = await asyncio.gather(*(stores.keys.taint(active.id, a_taint()) for _ in range(AT_ONCE)))

    assert [entry and entry.revision for entry in entries] == [1] * AT_ONCE
    assert (await states(stores))[prepared.id] is KeyState.ACTIVE
    assert (await audited(stores)).count("key.tainted") == 1


async def test_taint_against_activation(stores: SqlStores) -> None:
    """Whichever comes first, a taint and an activation of the same key leave it tainted, and what signed before it does
    not sign again if it had stopped."""
    active, prepared = await active_and_prepared(stores)

    _, activated = await asyncio.gather(
        stores.keys.taint(prepared.id, a_taint()), stores.keys.activate(prepared.id, NOW, an_event())
    )

    assert await states(stores) == {
        active.id: KeyState.RETIRING if activated else KeyState.ACTIVE,
        prepared.id: KeyState.TAINTED,
    }


async def test_reseal(stores: SqlStores) -> None:
    """A private half is replaced only if it is still the one that was read."""
    key = a_signing_key()
    await stores.keys.create_active(key, an_event())

    done = [
        await stores.keys.reseal(key.id, b"sealed", b"resealed", an_event("key.reencrypted")),
        await stores.keys.reseal(key.id, b"sealed", b"late", an_event("key.reencrypted")),
    ]

    assert done == [True, False]
    assert await stores.keys.list() == [replace(key, sealed_private=b"resealed")]
    assert (await audited(stores)).count("key.reencrypted") == 1


async def test_events_are_whole(stores: SqlStores) -> None:
    """An event is written with all its parts, however odd the text that a caller sent."""
    device = Device("192.0.2.1", "agent \0 \ud800 ☃", "label")

    await stores.audit.record(
        an_event("login.failed", actor="web", user_id="odd \0 id", device=device, reason="no")
    )

    [row] = await stores.database.read(select(*(column for column in audit_events.c if column.name != "id")))
    assert tuple(row) == (
        "login.failed", NOW, "web", "odd � id", "", "", "192.0.2.1", "agent � ? ☃", "label", "no",
        "", "", None,
    )  # fmt: skip
