"""The client store, on each database."""

import asyncio
from dataclasses import replace

import pytest

from authsvc.core.errors import CertificateNameTaken
from authsvc.core.model import Permission
from authsvc.stores.sql import SqlStores
from tests.parts.records import NOW, a_client, a_client_key, an_event
from tests.parts.sql import audited


async def registry(stores: SqlStores) -> int:
    """How many changes of clients and keys the log counts."""
    return (await stores.log.position()).registry


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """A client and its key come back as they were, empty lists and all."""
    client = a_client(permissions=frozenset({Permission.LOGIN}), scopes=())
    key = a_client_key(client.id)

    created = await stores.clients.create(client, key, an_event())

    assert created
    assert await stores.clients.list_all() == ((client,), [key])


async def test_id_taken(stores: SqlStores) -> None:
    """The second client of the same id is refused, and leaves nothing: no key, no event, no change of the registry."""
    client = a_client()
    await stores.clients.create(client, None, an_event("first"))
    before = await registry(stores)

    created = await stores.clients.create(client, a_client_key(client.id), an_event("second"))

    assert not created
    assert await stores.clients.list_all() == ((client,), [])
    assert await audited(stores) == ["first"]
    assert await registry(stores) == before


async def test_list_in_pages(stores: SqlStores) -> None:
    """Clients are listed by id, byte for byte, and each page goes on after the one before."""
    ids = ["B", "a", "a-b", "ab"]
    for client_id in reversed(ids):
        await stores.clients.create(a_client(id=client_id), None, an_event())

    first = [client.id for client in await stores.clients.list(3, "")]
    second = [client.id for client in await stores.clients.list(3, first[-1])]

    assert first + second == ids


async def test_add_key(stores: SqlStores) -> None:
    """A new key leaves the older ones a last stretch of time, and never more than they had."""
    client = a_client()
    ending, going = a_client_key(client.id, created_at=NOW, expires_at=NOW + 1), a_client_key(client.id)
    await stores.clients.create(client, ending, an_event())
    await stores.clients.add_key(going, NOW + 1, an_event())
    new = a_client_key(client.id, created_at=NOW + 2)

    added = await stores.clients.add_key(new, NOW + 60, an_event())

    assert added
    _, keys = await stores.clients.list_all()
    assert {key.key_hash: key.expires_at for key in keys} == {
        ending.key_hash: NOW + 1,
        going.key_hash: NOW + 60,
        new.key_hash: None,
    }


async def test_add_key_to_nobody(stores: SqlStores) -> None:
    """No key is added to a client that does not exist or has been revoked."""
    client = a_client()
    await stores.clients.create(client, None, an_event())
    await stores.clients.revoke(client.id, NOW, an_event())

    added = [await stores.clients.add_key(a_client_key(name), NOW, an_event()) for name in (client.id, "\0")]

    assert added == [False, False]
    assert (await stores.clients.list_all())[1] == []


async def test_revoke(stores: SqlStores) -> None:
    """Revoking keeps the client for the record and drops its keys; others keep theirs."""
    client, other = a_client(), a_client()
    other_key = a_client_key(other.id)
    await stores.clients.create(client, a_client_key(client.id), an_event())
    await stores.clients.create(other, other_key, an_event())

    revoked = await stores.clients.revoke(client.id, NOW + 1, an_event())

    assert revoked == replace(client, revoked_at=NOW + 1)
    assert await stores.clients.list_all() == ((revoked, other), [other_key])


async def test_revoke_twice(stores: SqlStores) -> None:
    """Revoking again changes nothing; revoking nobody is None."""
    client = a_client()
    await stores.clients.create(client, None, an_event())
    first = await stores.clients.revoke(client.id, NOW, an_event())
    before = await registry(stores)

    again = await stores.clients.revoke(client.id, NOW + 1, an_event())
    nobody = await stores.clients.revoke("nobody", NOW + 1, an_event())

    assert (again, nobody) == (first, None)
    assert await registry(stores) == before


@pytest.mark.parametrize("change", ["create", "update", "add_key", "revoke"])
async def test_registry_counts(stores: SqlStores, change: str) -> None:
    """Every change of clients or keys moves the log's registry, in the same transaction as its event."""
    client = a_client(id="a-client")
    if change != "create":
        await stores.clients.create(client, None, an_event())
    before = await registry(stores)

    match change:
        case "create":
            await stores.clients.create(client, None, an_event("change"))
        case "update":
            await stores.clients.update(client, replace(client, scopes=()), an_event("change"))
        case "add_key":
            await stores.clients.add_key(a_client_key(client.id), NOW, an_event("change"))
        case "revoke":
            await stores.clients.revoke(client.id, NOW, an_event("change"))

    assert await registry(stores) == before + 1
    assert (await audited(stores))[-1] == "change"


async def test_update(stores: SqlStores) -> None:
    """A registration is replaced if it still is what it was thought to be, and then moves the log's registry."""
    client = a_client(certificate_names=("a.example", "spiffe://shop/a"))
    await stores.clients.create(client, None, an_event())
    after = replace(client, audiences=(), scopes=(), certificate_names=("b.example",), updated_at=NOW + 1)
    before = await registry(stores)

    changed = await stores.clients.update(client, after, an_event("change"))
    again = await stores.clients.update(client, replace(client, display_name="x"), an_event("again"))

    assert (changed, again) == (True, False)
    assert await stores.clients.get(client.id) == after
    assert await registry(stores) == before + 1
    assert (await audited(stores))[-1] == "change"


async def test_update_of_one_that_is_no_more(stores: SqlStores) -> None:
    """A revoked client, or none, is not changed."""
    client = a_client()
    await stores.clients.create(client, None, an_event())
    revoked = await stores.clients.revoke(client.id, NOW, an_event())
    assert revoked is not None

    changed = [
        await stores.clients.update(before, replace(before, display_name="x"), an_event())
        for before in (revoked, client, a_client())
    ]

    assert changed == [False] * 3
    assert await stores.clients.get(client.id) == revoked


async def test_a_certificate_name_is_of_one_active_client(stores: SqlStores) -> None:
    """Of clients that are given the same name at the same time, one gets it; when that is revoked, it is free again."""
    others = [a_client() for _ in range(4)]
    for other in others:
        await stores.clients.create(other, None, an_event())
    fresh = [a_client(certificate_names=("a.example",)) for _ in range(4)]
    changes = [
        *(stores.clients.create(client, None, an_event()) for client in fresh),
        *(
            stores.clients.update(other, replace(other, certificate_names=("a.example",)), an_event())
            for other in others
        ),
    ]

    results = await asyncio.gather(*changes, return_exceptions=True)

    clients, _ = await stores.clients.list_all()
    (winner,) = [client for client in clients if client.certificate_names]
    assert sorted(map(str, (result is True for result in results))) == ["False"] * 7 + ["True"]
    assert all(isinstance(result, CertificateNameTaken) for result in results if result is not True)
    revoked = await stores.clients.revoke(winner.id, NOW, an_event())
    assert revoked is not None
    assert revoked.certificate_names == ("a.example",)
    assert await stores.clients.create(a_client(certificate_names=("a.example",)), None, an_event())


async def test_a_taken_name_leaves_nothing(stores: SqlStores) -> None:
    """A client that is refused for a name leaves nothing: no client, no key, no other name, no event."""
    await stores.clients.create(a_client(certificate_names=("a.example",)), None, an_event("first"))
    refused = a_client(certificate_names=("b.example", "a.example"))

    with pytest.raises(CertificateNameTaken):
        await stores.clients.create(refused, a_client_key(refused.id), an_event("second"))

    assert await stores.clients.get(refused.id) is None
    assert await audited(stores) == ["first"]
    assert await stores.clients.create(a_client(certificate_names=("b.example",)), None, an_event())
