"""Clients that call with a certificate instead of a key."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc.core.model import AuditEvent, Client, Permission
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import admin_service_pb2_grpc, auth_service_pb2_grpc
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.authority import Authority, Name, Signed, address, dns, email, uri
from tests.parts.service import bearer, fields_of, outcome, reason_of, refusal
from tests.parts.tls_service import TlsService, run_tls_service
from tests.rpc.test_callers import unknown_key

GATEWAY = "spiffe://shop/gateway"


@pytest.fixture
async def tls(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[TlsService]:
    """An instance that asks for clients' certificates at its second port."""
    async with run_tls_service(tmp_path, sqlite_url, valkey.url) as running:
        yield running


async def register(service: TlsService, client_id: str, *names: str, **more: Any) -> Any:
    """Register a client with `introspect` under these names; return the response."""
    request = admin.CreateClientRequest(
        client_id=client_id,
        certificate_names=names,
        **{"permissions": [resources.PERMISSION_INTROSPECT], "without_key": True, **more},
    )
    return await service.admin.CreateClient(request, metadata=service.by("root"))


async def introspects(
    service: TlsService, signed: Signed | None, metadata: Any = (), mtls: bool = True
) -> str:
    """How a call that needs `introspect` ends with this certificate."""
    async with service.connect(signed, mtls=mtls) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = pb.IntrospectRequest(token="x")
        return await outcome(stub.Introspect(request, metadata=metadata, timeout=5))


async def is_connected(service: TlsService, signed: Signed | None, mtls: bool = True) -> bool:
    """Whether whoever has this certificate is let in at all."""
    async with service.connect(signed, mtls=mtls) as channel:
        try:
            await auth_service_pb2_grpc.AuthServiceStub(channel).GetKeySet(pb.GetKeySetRequest(), timeout=3)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            raise
    return True


@pytest.mark.parametrize(
    ("registered", "shown"),
    [
        (GATEWAY, uri(GATEWAY)),
        ("gateway.shop.example", dns("gateway.shop.example")),
        ("Gateway.Shop.example", dns("gateway.shop.EXAMPLE")),
        ("https://shop.example/Gateway?x=1", uri("https://shop.example/Gateway?x=1")),
    ],
)
async def test_a_certificate_stands_for_a_key(tls: TlsService, registered: str, shown: Name) -> None:
    """A service with a certificate of the authority needs no key at all: a URI or DNS name in it names the client."""
    created = await register(tls, "edge", registered)

    found = await introspects(tls, tls.clients.sign(shown))

    assert found == "OK"
    assert created.client_key == ""


@pytest.mark.parametrize(
    ("registered", "shown"),
    [
        (GATEWAY, (uri("spiffe://shop/gateway/more"),)),
        (GATEWAY, (uri("spiffe://shop/gatewa"),)),
        (GATEWAY, (uri("spiffe://shop/Gateway"),)),
        (GATEWAY, (dns(GATEWAY),)),
        (GATEWAY, ()),
        ("gateway.shop.example", (dns("*.shop.example"),)),
        ("gateway.shop.example", (dns("gateway.shop.example.com"),)),
        ("gateway.shop.example", (dns("shop.example"),)),
        ("gateway.shop.example", (email("x@gateway.shop.example"),)),
        ("10.0.0.1", (address("10.0.0.1"),)),
    ],
)
async def test_names_are_compared_whole(tls: TlsService, registered: str, shown: tuple[Name, ...]) -> None:
    """A name that resembles a client's, is of another kind, or has a wildcard, is not its name; a common name is none.
    (Guard: `names_of`, and the look-up of whole names in `ClientRegistry.caller_by_certificate`.)"""
    await register(tls, "edge", registered)

    found = await introspects(tls, tls.clients.sign(*shown, common_name=registered[:60]))

    assert found == "CALLER_UNAUTHENTICATED"


async def test_two_clients_in_one_certificate_are_none(tls: TlsService) -> None:
    """A certificate with names of two clients does not tell which of them calls."""
    await register(tls, "one", "spiffe://shop/one")
    await register(tls, "two", "two.shop.example")
    one, two = uri("spiffe://shop/one"), dns("two.shop.example")

    assert await introspects(tls, tls.clients.sign(one)) == "OK"
    assert await introspects(tls, tls.clients.sign(one, two)) == "CALLER_UNAUTHENTICATED"


async def test_only_the_authority_counts(tls: TlsService) -> None:
    """Who has no certificate of the authority, or one that has expired, does not get a connection."""
    await register(tls, "edge", GATEWAY)
    foreign = Authority("Clients").sign(uri(GATEWAY))
    expired = tls.clients.sign(uri(GATEWAY), expires_in=timedelta(seconds=-1))

    assert [await is_connected(tls, each) for each in (foreign, expired, None)] == [False] * 3
    assert await is_connected(tls, tls.clients.sign(uri(GATEWAY)))


async def test_nobody_is_asked_at_the_first_port(tls: TlsService) -> None:
    """With a port for certificates, the other asks nobody: there a certificate says nothing, and a key is needed."""
    await register(tls, "edge", GATEWAY)
    signed = tls.clients.sign(uri(GATEWAY))

    assert await is_connected(tls, None, mtls=False)
    assert await introspects(tls, signed, mtls=False) == "CREDENTIALS_MISSING"
    assert await introspects(tls, None, tls.by("gateway"), mtls=False) == "OK"


async def test_one_port_for_all(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Without a port for certificates all must have one, and keys and tokens say who calls where there are any."""
    async with run_tls_service(tmp_path, sqlite_url, valkey.url, mtls_listen="") as tls:
        signed = tls.clients.sign(uri("spiffe://shop/nobody"))

        assert not await is_connected(tls, None, mtls=False)
        assert await introspects(tls, signed, mtls=False) == "CALLER_UNAUTHENTICATED"
        assert await introspects(tls, signed, tls.by("gateway"), mtls=False) == "OK"


async def test_authorization_comes_first(tls: TlsService) -> None:
    """Who sends `authorization` is whom it names, whatever certificate comes along: a wrong key is refused even so.
    (Guard: the order in `Authenticate.authenticated`.)"""
    await register(tls, "edge", GATEWAY)
    signed = tls.clients.sign(uri(GATEWAY))
    login = await tls.login()

    assert await introspects(tls, signed, await unknown_key(tls)) == "CALLER_UNAUTHENTICATED"
    assert await introspects(tls, signed, bearer("x")) == "ACCESS_TOKEN_INVALID"
    assert await introspects(tls, signed, tls.by("web")) == "CALLER_NOT_PERMITTED"
    assert await introspects(tls, signed, bearer(login.tokens.access_token)) == "CALLER_NOT_PERMITTED"


async def test_the_end_of_a_client_ends_its_certificate(tls: TlsService) -> None:
    """A revoked client is refused from the next call on, on connections that are open too; its names are free."""
    await register(tls, "edge", GATEWAY)
    signed = tls.clients.sign(uri(GATEWAY))
    async with tls.connect(signed, mtls=True) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        before = await outcome(stub.Introspect(pb.IntrospectRequest(token="x")))
        request = admin.RevokeClientRequest(client_id="edge")
        revoked = await tls.admin.RevokeClient(request, metadata=tls.by("root"))

        after = await outcome(stub.Introspect(pb.IntrospectRequest(token="x")))

    assert (before, after) == ("OK", "CALLER_UNAUTHENTICATED")
    assert list(revoked.client.certificate_names) == [GATEWAY]
    await register(tls, "edge-two", GATEWAY)
    assert await introspects(tls, signed) == "OK"


async def test_a_name_is_of_one_client(tls: TlsService) -> None:
    """No two active clients have the same name, neither by registering nor by changing; nothing changes then."""
    await register(tls, "edge", GATEWAY)
    await register(tls, "other", "spiffe://shop/other")
    client = resources.Client(id="other", certificate_names=["spiffe://shop/other", GATEWAY])
    update = admin.UpdateClientRequest(client=client)
    update.update_mask.paths.append("certificate_names")

    by_creating = await refusal(register(tls, "third", "spiffe://shop/third", GATEWAY))
    by_changing = await refusal(tls.admin.UpdateClient(update, metadata=tls.by("root")))

    assert {reason_of(by_creating), reason_of(by_changing)} == {"CERTIFICATE_NAME_TAKEN"}
    assert await introspects(tls, tls.clients.sign(uri("spiffe://shop/third"))) == "CALLER_UNAUTHENTICATED"
    assert await introspects(tls, tls.clients.sign(uri("spiffe://shop/other"))) == "OK"


async def test_names_can_be_given_and_taken(tls: TlsService) -> None:
    """A client that has a key can be given a name, and it can be taken away again."""
    signed = tls.clients.sign(uri(GATEWAY))
    update = admin.UpdateClientRequest(client=resources.Client(id="gateway", certificate_names=[GATEWAY]))
    update.update_mask.paths.append("certificate_names")
    await tls.admin.UpdateClient(update, metadata=tls.by("root"))
    given = await introspects(tls, signed)
    update.client.ClearField("certificate_names")

    await tls.admin.UpdateClient(update, metadata=tls.by("root"))

    assert (given, await introspects(tls, signed)) == ("OK", "CALLER_UNAUTHENTICATED")
    assert await introspects(tls, None, tls.by("gateway"), mtls=False) == "OK"


@pytest.mark.parametrize(
    "name",
    [
        "*.shop.example",
        "spiffe://shop/*",
        "a b",
        "",
        "x" * 300,
        "spiffe://",
        "shop..example",
        "-a",
        "é.example",
    ],
)
async def test_what_is_no_name(tls: TlsService, name: str) -> None:
    """Wildcards, and what no certificate can have, are refused."""
    error = await refusal(register(tls, "edge", name))

    assert (reason_of(error), fields_of(error)) == ("INVALID_REQUEST", ["certificate_names"])


async def test_a_client_can_call_somehow(tls: TlsService) -> None:
    """A client without a key must have a name."""
    error = await refusal(register(tls, "edge"))

    assert (reason_of(error), fields_of(error)) == ("INVALID_REQUEST", ["certificate_names"])


async def test_a_name_registered_elsewhere_is_known_at_once(tls: TlsService) -> None:
    """A client registered a moment ago at another instance is looked for before it is refused."""
    client = Client("edge", "", frozenset({Permission.INTROSPECT}), (), (), tls.clock(), None, (GATEWAY,))
    tls.app._tail.hint = lambda: None  # type: ignore[method-assign]  # nobody tells
    await tls.app.stores.clients.create(client, None, AuditEvent("client.created", tls.clock()))

    assert await introspects(tls, tls.clients.sign(uri(GATEWAY))) == "OK"


async def test_an_administrator_with_a_certificate(tls: TlsService) -> None:
    """A certificate gives what its client may do, administration too, and the audit log names the client."""
    await register(tls, "ops", "ops.shop.example", permissions=[resources.PERMISSION_ADMIN])
    async with tls.connect(tls.clients.sign(dns("ops.shop.example")), mtls=True) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        await stub.CreateClient(
            admin.CreateClientRequest(client_id="new", permissions=[resources.PERMISSION_INTROSPECT])
        )

        events = await stub.ListAuditEvents(admin.ListAuditEventsRequest(event="client.created", page_size=1))

    assert [event.actor for event in events.events] == ["ops"]
