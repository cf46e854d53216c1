"""Administering users and clients."""

from typing import Any

import pytest

from authsvc.core.clock import MINUTE
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2
from authsvc.v1 import resources_pb2 as resources
from tests.parts.service import (
    AUDIENCES,
    PASSWORD,
    SCOPES,
    Service,
    bearer,
    fields_of,
    outcome,
    reason_of,
    refusal,
)
from tests.parts.sql import audited


class Admin:
    """AdminService, called as `root`."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __getattr__(self, rpc: str) -> Any:
        def call(**request: Any) -> Any:
            message = getattr(pb, f"{rpc}Request")(**request)
            return getattr(self.service.admin, rpc)(message, metadata=self.service.by("root"))

        return call


@pytest.fixture
def admin(service_on_each: Service) -> Admin:
    """An administrator, on each database."""
    return Admin(service_on_each)


async def test_user_is_created(admin: Admin) -> None:
    """A new user can be found by id and by name, and never shows a password or a hash."""
    created = (await admin.CreateUser(username="Zoë", password=PASSWORD, scopes=SCOPES)).user

    by_id, by_name = await admin.GetUser(user_id=created.id), await admin.GetUser(username="ZOË")

    assert by_id.user == by_name.user == created
    assert (created.username, list(created.scopes)) == ("Zoë", list(SCOPES))
    assert set(resources.User.DESCRIPTOR.fields_by_name) == {
        "id", "username", "scopes", "create_time", "disable_time", "password_change_time",
    }  # fmt: skip


@pytest.mark.parametrize("again", ["alice", "ALICE", "\uff41lice"])
async def test_name_is_taken(admin: Admin, again: str) -> None:
    """A name that looks like another's is taken."""
    await admin.CreateUser(username="alice", password=PASSWORD)

    assert await outcome(admin.CreateUser(username=again, password=PASSWORD)) == "USERNAME_TAKEN"


async def test_unknown_things(admin: Admin) -> None:
    """What does not exist is NOT_FOUND."""
    unknown = "00000000-0000-4000-8000-000000000000"
    calls = [
        admin.GetUser(user_id=unknown),
        admin.GetUser(user_id="no id at all"),
        admin.GetUser(username="nobody"),
        admin.SetPassword(user_id=unknown, password=PASSWORD),
        admin.DisableUser(user_id=unknown),
        admin.EnableUser(user_id=unknown),
        admin.RotateClientKey(client_id="nobody"),
        admin.RevokeClient(client_id="nobody"),
    ]

    assert [await outcome(call) for call in calls] == ["NOT_FOUND"] * len(calls)


async def test_users_in_pages(admin: Admin) -> None:
    """Users are listed by name, in pages without a gap or a repeat."""
    names = ["bob", "Alice", "dave", "Carol", "éva"]
    for name in names:
        await admin.CreateUser(username=name, password=PASSWORD)
    found: list[str] = []
    token = ""

    while True:
        page = await admin.ListUsers(page_size=2, page_token=token)
        found += [user.username for user in page.users]
        token = page.next_page_token
        if not token:
            break

    assert found == ["Alice", "bob", "Carol", "dave", "éva"]


async def test_clients_in_pages(admin: Admin) -> None:
    """Clients are listed by id, those that were revoked too, without their keys."""
    await admin.RevokeClient(client_id="app")

    first = await admin.ListClients(page_size=2)
    second = await admin.ListClients(page_size=2, page_token=first.next_page_token)

    listed = [*first.clients, *second.clients]
    assert [client.id for client in listed] == ["app", "gateway", "root", "web"]
    assert [client.HasField("revoke_time") for client in listed] == [True, False, False, False]
    assert second.next_page_token == ""
    assert "atc_" not in str(listed)


async def test_new_client_works(admin: Admin) -> None:
    """A new client's key works at once, for what it was given."""
    created = await admin.CreateClient(
        client_id="shop",
        display_name="The shop",
        permissions=[resources.PERMISSION_LOGIN],
        audiences=["shop"],
        scopes=["orders.read"],
    )
    await admin.service.add_user()
    request = auth_service_pb2.LoginRequest(username="alice", password=PASSWORD)

    login = await admin.service.auth.Login(request, metadata=bearer(created.client_key))

    assert created.client.display_name == "The shop"
    assert (login.session.client_id, list(login.tokens.audiences)) == ("shop", ["shop"])
    assert list(login.tokens.scopes) == ["orders.read"]


async def test_client_id_is_taken(admin: Admin) -> None:
    """An id is given once, even after its client was revoked."""
    await admin.RevokeClient(client_id="app")

    for client_id in ("app", "web"):
        call = admin.CreateClient(client_id=client_id, permissions=[resources.PERMISSION_INTROSPECT])
        assert await outcome(call) == "CLIENT_ID_TAKEN"


async def test_keys_are_rotated(admin: Admin) -> None:
    """Without an overlap the old key ends at once; with one, at its end; the new key is good from the start."""
    service = admin.service
    second = (await admin.RotateClientKey(client_id="gateway")).client_key
    first_said = await outcome(service.introspect("x"))
    third = (await admin.RotateClientKey(client_id="gateway", overlap_seconds=60)).client_key

    async def works(key: str) -> bool:
        call = service.auth.Introspect(auth_service_pb2.IntrospectRequest(token="x"), metadata=bearer(key))
        return await outcome(call) == "OK"

    assert first_said == "CALLER_UNAUTHENTICATED"
    assert (await works(second), await works(third)) == (True, True)
    service.clock.move(MINUTE)
    assert (await works(second), await works(third)) == (False, True)


async def test_revoked_client_gets_no_key(admin: Admin) -> None:
    """A revoked client cannot be given a new key."""
    await admin.RevokeClient(client_id="app")

    assert await outcome(admin.RotateClientKey(client_id="app")) == "NOT_FOUND"


async def test_weak_new_password_changes_nothing(admin: Admin) -> None:
    """A password that is refused ends no session and leaves the old one good."""
    login = await admin.service.login()

    error = await refusal(admin.SetPassword(user_id=login.session.user_id, password="short"))

    assert (reason_of(error), fields_of(error)) == ("PASSWORD_TOO_WEAK", ["password"])
    assert await outcome(admin.service.validate(login.session_token)) == "OK"
    assert await outcome(admin.service.login()) == "OK"


async def test_everything_is_on_record(admin: Admin) -> None:
    """Each change leaves an audit event, and a call that changes nothing leaves none."""
    service = admin.service
    login = await service.login()
    user_id = login.session.user_id
    await service.refresh(login.tokens.refresh_token)
    await service.validate(login.session_token)
    await service.revoke(token=login.session_token)
    await service.revoke(token=login.session_token)
    await admin.SetPassword(user_id=user_id, password=PASSWORD)
    await admin.DisableUser(user_id=user_id)
    await admin.EnableUser(user_id=user_id)
    await admin.CreateClient(client_id="shop", permissions=[resources.PERMISSION_INTROSPECT])
    await admin.RotateClientKey(client_id="shop")
    await admin.RevokeClient(client_id="shop")
    await outcome(admin.CreateUser(username="alice", password=PASSWORD))

    events = [event for event in await audited(service.app.stores) if not event.startswith("key.")]

    assert events[events.index("user.created") :] == [
        "user.created",
        "session.created",
        "token.rotated",
        "session.revoked",
        "user.password_changed",
        "user.disabled",
        "user.enabled",
        "client.created",
        "client.key_rotated",
        "client.revoked",
    ]


async def test_audiences_of_a_login(service: Service) -> None:
    """A login gets audiences of its client's, all of them unless it asks for some."""
    every, one = await service.login(), await service.login(audiences=["billing"])

    assert list(every.tokens.audiences) == list(AUDIENCES)
    assert list(one.tokens.audiences) == ["billing"]
