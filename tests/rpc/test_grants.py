"""What a client gets is what it is registered for, whatever it asks for, and whatever it was registered for before."""

import asyncio
from typing import Any

import pytest

from authsvc.core.grants import ADMIN_SCOPE
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.strict import KeySet, VerifiedTokens
from tests.parts.service import AUDIENCES, ISSUER, SCOPES, Service, outcome, reason_of, refusal


async def register(service: Service, client_id: str, **values: Any) -> None:
    """Change the registration of a client."""
    request = admin.UpdateClientRequest(client=resources.Client(id=client_id, **values))
    request.update_mask.paths.extend(values)
    await service.admin.UpdateClient(request, metadata=service.by("root"))


async def claims(service: Service, access_token: str) -> Any:
    """What an access token says."""
    keys = await service.auth.GetKeySet(pb.GetKeySetRequest())
    return VerifiedTokens(ISSUER).verify(access_token, KeySet.from_jwks(keys.jwks), now=service.clock())


async def exchange(service: Service, session_token: str, client_id: str = "gateway", **wanted: Any) -> Any:
    """Exchange a session token; return the ExchangeSessionResponse."""
    request = pb.ExchangeSessionRequest(session_token=session_token, **wanted)
    return await service.auth.ExchangeSession(request, metadata=service.by(client_id))


@pytest.mark.parametrize("audience", ["stock", "orders ", "ORDERS", ISSUER])
async def test_no_other_audience_at_login(service: Service, audience: str) -> None:
    """A client cannot log anybody in for an audience it is not registered for. (Guard: `narrowed` in `Login`.)"""
    assert await outcome(service.login(audiences=[audience])) == "INVALID_REQUEST"


async def test_refresh_only_narrows(service: Service) -> None:
    """A refresh may be for fewer audiences and scopes than the login, never for more. A refusal leaves the token as it
    was. (Guard: `_check_narrows`.)"""
    login = await service.login(audiences=["orders"], scopes=["orders.read"])

    fewer = await refusal(service.refresh(login.tokens.refresh_token, audiences=["billing"]))
    scopes = await refusal(service.refresh(login.tokens.refresh_token, scopes=["orders.write"]))
    renewed = await service.refresh(login.tokens.refresh_token)

    assert {reason_of(fewer), reason_of(scopes)} == {"INVALID_REQUEST"}
    assert (list(renewed.tokens.audiences), list(renewed.tokens.scopes)) == (["orders"], ["orders.read"])
    assert not renewed.replayed


async def test_refresh_follows_the_registration(service: Service) -> None:
    """What is taken from a client after the login is in no token that is minted afterwards. (Guard: `granted`.)"""
    login = await service.login()
    await register(service, "web", audiences=["billing", "new"], scopes=["orders.read", "new.scope"])

    renewed = await service.refresh(login.tokens.refresh_token)
    more = await refusal(service.refresh(renewed.tokens.refresh_token, audiences=["orders"]))
    token = await claims(service, renewed.tokens.access_token)

    assert (list(renewed.tokens.audiences), list(renewed.tokens.scopes)) == (["billing"], ["orders.read"])
    assert (token.audiences, token.scopes) == (("billing",), {"orders.read"})
    assert reason_of(more) == "INVALID_REQUEST"


async def test_a_refresh_for_nobody_burns_nothing(service: Service) -> None:
    """If nothing is left that a client might get, the refresh is refused and the token stays good: given back what it
    had, the client goes on. (Guard: `_was_changed_since`, which has the session looked at before the rotation.)"""
    login = await service.login()
    await register(service, "web", audiences=["elsewhere"])

    refused = [await outcome(service.refresh(login.tokens.refresh_token)) for _ in range(5)]
    await register(service, "web", audiences=AUDIENCES)
    renewed = await service.refresh(login.tokens.refresh_token)

    assert refused == ["CALLER_NOT_PERMITTED"] * 5
    assert not renewed.replayed
    assert list(renewed.tokens.audiences) == list(AUDIENCES)


async def test_a_session_is_exchanged_for_what_both_clients_may_have(service: Service) -> None:
    """A gateway gets tokens of others' sessions only for audiences and scopes that it is registered for itself, and
    that the client of the session still is."""
    login = await service.login()
    whole = await claims(service, (await exchange(service, login.session_token)).access_token)
    await register(service, "gateway", audiences=["billing", "stock"], scopes=["orders.read", "other"])

    part = await claims(service, (await exchange(service, login.session_token)).access_token)
    more = await outcome(exchange(service, login.session_token, audiences=["orders"]))
    scope = await outcome(exchange(service, login.session_token, scopes=["orders.write"]))
    await register(service, "web", audiences=["orders"])
    none = await outcome(exchange(service, login.session_token))

    assert (whole.audiences, whole.scopes) == (AUDIENCES, set(SCOPES))
    assert (part.audiences, part.scopes) == (("billing",), {"orders.read"})
    assert part.client_id == "web"
    assert (more, scope, none) == ("INVALID_REQUEST", "INVALID_REQUEST", "CALLER_NOT_PERMITTED")


async def test_a_client_without_audiences_exchanges_nothing(service: Service) -> None:
    """A client that is registered for no audience validates sessions, and gets no token."""
    login = await service.login()
    await register(service, "gateway", audiences=[])

    assert await outcome(service.validate(login.session_token)) == "OK"
    assert await outcome(exchange(service, login.session_token)) == "CALLER_NOT_PERMITTED"


async def test_sessions_of_a_client_that_is_no_more(service: Service) -> None:
    """The sessions of a revoked client are exchanged for nothing more."""
    login = await service.login()
    request = admin.RevokeClientRequest(client_id="web")
    await service.admin.RevokeClient(request, metadata=service.by("root"))

    assert await outcome(exchange(service, login.session_token)) == "CALLER_NOT_PERMITTED"


async def test_a_gateway_gets_no_administrator(service: Service) -> None:
    """No token with the scope of an administrator is got by exchange, but by a client registered for that scope."""
    await service.add_user("ada", [ADMIN_SCOPE, "orders.read"])
    await register(service, "web", audiences=["orders"], scopes=[ADMIN_SCOPE, "orders.read"])
    login = await service.login("ada")

    token = await claims(service, (await exchange(service, login.session_token)).access_token)
    asked = await outcome(exchange(service, login.session_token, scopes=[ADMIN_SCOPE]))

    assert list(login.session.scopes) == [ADMIN_SCOPE, "orders.read"]
    assert (token.scopes, asked) == ({"orders.read"}, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"permissions": []}, "permissions"),
        ({"audiences": []}, "audiences"),
        ({"audiences": ["a b"]}, "audiences"),
        ({"scopes": ["a b"]}, "scopes"),
        ({"display_name": "x" * 200}, "display_name"),
        ({"certificate_names": ["*.example.com"]}, "certificate_names"),
        ({}, "update_mask"),
        ({"id": "web"}, "update_mask"),
        ({"create_time": None}, "update_mask"),
    ],
)
async def test_a_registration_stays_whole(service: Service, values: dict[str, Any], field: str) -> None:
    """A change that would leave a client as none could be registered changes nothing."""
    request = admin.UpdateClientRequest(client=resources.Client(**{"id": "web", **values}))
    request.update_mask.paths.extend(values)

    error = await refusal(service.admin.UpdateClient(request, metadata=service.by("root")))

    assert reason_of(error) == "INVALID_REQUEST"
    assert field in str(error.details())


async def test_a_change_of_nobody(service: Service) -> None:
    """A client that does not exist, or was revoked, is not changed."""
    request = admin.RevokeClientRequest(client_id="app")
    await service.admin.RevokeClient(request, metadata=service.by("root"))

    for client_id in ("app", "nobody"):
        assert await outcome(register(service, client_id, display_name="x")) == "NOT_FOUND"


async def test_two_changes_at_once_are_both_there(service_on_each: Service) -> None:
    """Changes of different parts at the same time do not undo each other. (Guard: the comparison with `before` in the
    store's `update`.)"""
    await asyncio.gather(
        *(register(service_on_each, "web", display_name=f"Name {number}") for number in range(5)),
        *(register(service_on_each, "web", audiences=["orders", f"a{number}"]) for number in range(5)),
        *(register(service_on_each, "web", certificate_names=[f"n{number}"]) for number in range(5)),
    )

    listed = await service_on_each.admin.ListClients(
        admin.ListClientsRequest(), metadata=service_on_each.by("root")
    )
    (client,) = [client for client in listed.clients if client.id == "web"]
    assert client.display_name.startswith("Name ")
    assert client.audiences[1].startswith("a")
    assert client.certificate_names[0].startswith("n")
    assert client.HasField("update_time")
