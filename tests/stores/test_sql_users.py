"""The user store, on each database."""

from dataclasses import replace

import pytest

from authsvc.core.contracts import NewTokens
from authsvc.core.model import RevokeReason
from authsvc.stores.sql import SqlStores
from tests.parts.records import (
    NOW,
    UNKNOWN_ID,
    a_session,
    a_user,
    add_session,
    add_user,
    an_event,
    an_order,
    hash_of,
)
from tests.parts.sql import audited


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """A user is found by id and by the compared form of the name, with the hash where a login needs it."""
    user = a_user()
    await stores.users.create(user, "zoë", "$argon2id$", an_event())

    found = [await stores.users.get(user.id), await stores.users.get_by_username("zoë")]
    secret = await stores.users.get_secret("zoë")

    assert found == [user, user]
    assert secret is not None
    assert (secret.user, secret.password_hash) == (user, "$argon2id$")


async def test_name_taken(stores: SqlStores) -> None:
    """The second user of the same key is refused, and leaves neither a row nor an event."""
    await stores.users.create(a_user(), "zoë", "$argon2id$", an_event("first"))

    created = await stores.users.create(a_user(), "zoë", "$argon2id$", an_event("second"))

    assert not created
    assert len(await stores.users.list(10, "")) == 1
    assert await audited(stores) == ["first"]


@pytest.mark.parametrize("user_id", [UNKNOWN_ID, "", "nobody", UNKNOWN_ID.upper() + "\0", "' OR 1=1 --"])
async def test_unknown_id(stores: SqlStores, user_id: str) -> None:
    """Whatever is not the id of a user is unknown, never an error."""
    await add_user(stores)
    order, event = an_order(), an_event()

    answers = [
        await stores.users.get(user_id),
        await stores.users.set_password(user_id, "$argon2id$", order),
        await stores.users.disable(user_id, order),
        await stores.users.enable(user_id, event),
    ]
    await stores.users.rehash(user_id, "$argon2id$first", "$argon2id$second")

    assert answers == [None, None, None, None]


@pytest.mark.parametrize("key", ["nobody", "", "\0", "\ud800", "' OR 1=1 --"])
async def test_unknown_name(stores: SqlStores, key: str) -> None:
    """Whatever is not the name of a user is unknown, never an error."""
    await add_user(stores)

    answers = [await stores.users.get_by_username(key), await stores.users.get_secret(key)]

    assert answers == [None, None]


async def test_list_in_pages(stores: SqlStores) -> None:
    """Users are listed by key, byte for byte on every database, and each page goes on after the one before."""
    keys = ["Z", "a", "a b", "ab", "zoe", "zoë", "é"]
    for key in reversed(keys):
        await stores.users.create(a_user(), key, "$argon2id$", an_event())

    first = [key for key, _ in await stores.users.list(4, "")]
    second = [key for key, _ in await stores.users.list(4, first[-1])]

    assert first + second == keys


async def test_rehash(stores: SqlStores) -> None:
    """A login may strengthen the hash of the password it has checked."""
    user = await add_user(stores)

    await stores.users.rehash(user.id, "$argon2id$first", "$argon2id$stronger")

    secret = await stores.users.get_secret(user.username.lower())
    assert secret is not None
    assert (secret.user, secret.password_hash) == (user, "$argon2id$stronger")


async def test_rehash_is_late(stores: SqlStores) -> None:
    """A rehash of the password before never undoes a change of password."""
    user = await add_user(stores)
    await stores.users.set_password(user.id, "$argon2id$second", an_order())

    await stores.users.rehash(user.id, "$argon2id$first", "$argon2id$stronger")

    secret = await stores.users.get_secret(user.username.lower())
    assert secret is not None
    assert secret.password_hash == "$argon2id$second"


@pytest.mark.parametrize(("changed_at", "expected"), [(NOW + 1, NOW + 1), (NOW, NOW + 1), (NOW - 5, NOW + 1)])
async def test_password_changed_at_grows(stores: SqlStores, changed_at: int, expected: int) -> None:
    """A change of password always moves `password_changed_at`, however fast or crooked the clock."""
    user = await add_user(stores)

    await stores.users.set_password(user.id, "$argon2id$second", an_order(revoked_at=changed_at))

    found = await stores.users.get(user.id)
    assert found == replace(user, password_changed_at=expected)


async def test_set_password_ends_sessions(stores: SqlStores) -> None:
    """A change of password ends every session of the user and of nobody else, with one event in all."""
    user = await add_user(stores)
    own = [await add_session(stores, user) for _ in range(3)]
    other = await add_session(stores)
    order = an_order(RevokeReason.PASSWORD_CHANGED, audit=an_event("password.changed"))

    revoked = await stores.users.set_password(user.id, "$argon2id$second", order)

    assert revoked is not None
    assert {entry.subject_id for entry in revoked.entries} == {session.id for session in own}
    ended = [await stores.sessions.get(session.id) for session in own]
    assert {session.revoke_reason for session in ended if session} == {RevokeReason.PASSWORD_CHANGED}
    assert await stores.sessions.get(other.id) == other
    assert (await audited(stores)).count("password.changed") == 1


async def test_set_password_without_sessions(stores: SqlStores) -> None:
    """A change of password that ends no session is written down all the same."""
    user = await add_user(stores)

    revoked = await stores.users.set_password(user.id, "x", an_order(audit=an_event("password.changed")))

    assert revoked is not None
    assert (revoked.revision, revoked.entries) == (0, ())
    assert await audited(stores) == ["something.happened", "password.changed"]


async def test_more_scopes(stores: SqlStores) -> None:
    """More scopes, or the same in another order, end nothing."""
    session = await add_session(stores)

    answer = await stores.users.set_scopes(session.user_id, ("write", "new", "read"), an_order())

    assert answer is not None
    user, revoked = answer
    assert (user.scopes, revoked.entries) == (("write", "new", "read"), ())
    assert user.password_changed_at == NOW
    assert await stores.users.get(session.user_id) == user
    assert await stores.sessions.get(session.id) == session


async def test_fewer_scopes_end_sessions(stores: SqlStores) -> None:
    """If a scope is taken away, every session of the user ends, with one event; nobody is None."""
    user = await add_user(stores)
    own = [await add_session(stores, user) for _ in range(2)]
    order = an_order(RevokeReason.ADMIN, audit=an_event("user.scopes_changed"))

    answer = await stores.users.set_scopes(user.id, ("read", "new"), order)

    assert answer is not None
    assert {entry.subject_id for entry in answer[1].entries} == {session.id for session in own}
    assert (await audited(stores)).count("user.scopes_changed") == 1
    assert await stores.users.set_scopes(UNKNOWN_ID, (), order) is None


async def test_a_login_under_way_gets_no_scope_that_was_taken(stores: SqlStores) -> None:
    """A login that has read the scopes of before begins no session once one of them has been taken away. (Guard:
    `set_scopes` moves `password_changed_at`.)"""
    user = await add_user(stores)
    await stores.users.set_scopes(user.id, (), an_order())
    session = a_session(user)
    tokens = NewTokens(hash_of("session"), hash_of("refresh"))

    begun = await stores.sessions.create(session, tokens, user.password_changed_at, an_event())

    assert not begun
    assert await stores.sessions.get(session.id) is None


async def test_disable(stores: SqlStores) -> None:
    """Disabling says since when, and ends every session."""
    session = await add_session(stores)

    answer = await stores.users.disable(session.user_id, an_order(RevokeReason.ACCOUNT_DISABLED))

    assert answer is not None
    user, revoked = answer
    assert (user.disabled_at, [entry.subject_id for entry in revoked.entries]) == (NOW, [session.id])
    assert await stores.users.get(session.user_id) == user


async def test_disable_twice(stores: SqlStores) -> None:
    """Disabling again changes nothing: neither the time nor the log nor the audit log."""
    user = await add_user(stores)
    first = await stores.users.disable(user.id, an_order(audit=an_event("user.disabled")))

    second = await stores.users.disable(
        user.id, an_order(revoked_at=NOW + 1, audit=an_event("user.disabled"))
    )

    assert second == first
    assert (await audited(stores)).count("user.disabled") == 1


async def test_enable(stores: SqlStores) -> None:
    """Enabling undoes disabling; enabling again changes nothing."""
    user = await add_user(stores)
    await stores.users.disable(user.id, an_order())

    answers = [await stores.users.enable(user.id, an_event("user.enabled")) for _ in range(2)]

    assert answers == [user, user]
    assert (await audited(stores)).count("user.enabled") == 1
