"""A commit whose reply is lost: nobody guesses whether it happened, somebody looks.

Each test does the change for real and then lets the store say that it did not answer, as when the connection breaks
between the commit and its reply; and the other way round, as when it breaks before.
"""

from typing import Any

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.v1 import admin_service_pb2 as admin
from tests.parts.service import PASSWORD, Service, outcome
from tests.parts.sql import audited

NOT_NOW = "DEPENDENCY_UNAVAILABLE"


@pytest.fixture
def service(service_on_each: Service) -> Service:
    """An instance on each database."""
    return service_on_each


@pytest.fixture
def lose(service: Service, monkeypatch: pytest.MonkeyPatch) -> "Lose":
    """Ways to lose the replies of a store's method."""
    return Lose(service, monkeypatch)


class Lose:
    """Loses replies, of changes that were made or that were not."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stores = service.app.stores
        self._monkeypatch = monkeypatch

    def reply(self, store: str, method: str) -> None:
        """The change is made, and nobody hears of it."""
        owner = getattr(self._stores, store)
        inner = getattr(owner, method)

        async def lost(*args: Any, **named: Any) -> Any:
            await inner(*args, **named)
            raise StoreUnavailable

        self._monkeypatch.setattr(owner, method, lost)

    def request(self, store: str, method: str) -> None:
        """The change is not made, and nobody hears of that."""

        async def lost(*args: Any, **named: Any) -> Any:
            raise StoreUnavailable

        self._monkeypatch.setattr(getattr(self._stores, store), method, lost)

    def nothing(self) -> None:
        """Everything arrives again."""
        self._monkeypatch.undo()


async def test_login(service: Service, lose: Lose) -> None:
    """A login that was committed is answered with its session, once; one that was not is UNAVAILABLE."""
    await service.add_user()
    lose.reply("sessions", "create")
    login = await service.login()
    only_tokens = await service.login(credentials=["CREDENTIAL_TOKENS"])
    lose.request("sessions", "create")
    refused = await outcome(service.login())
    lose.nothing()

    assert refused == NOT_NOW
    assert await outcome(service.validate(login.session_token)) == "OK"
    assert await outcome(service.refresh(only_tokens.tokens.refresh_token)) == "OK"
    assert (await audited(service.app.stores)).count("session.created") == 2


async def test_refresh(service: Service, lose: Lose) -> None:
    """A rotation that was committed is answered with its successor; one that was not leaves the token as it was."""
    login = await service.login()
    lose.reply("sessions", "rotate")
    renewed = await service.refresh(login.tokens.refresh_token)
    lose.request("sessions", "rotate")
    refused = await outcome(service.refresh(renewed.tokens.refresh_token))
    lose.nothing()

    again = await service.refresh(renewed.tokens.refresh_token)

    assert refused == NOT_NOW
    assert (renewed.replayed, again.replayed) == (False, False)
    assert (await audited(service.app.stores)).count("token.rotated") == 2


async def test_refresh_that_was_revoked_meanwhile(service: Service, lose: Lose) -> None:
    """A rotation found committed in a session that has ended since is no success."""
    login = await service.login()
    sessions = service.app.stores.sessions
    inner = sessions.rotate

    async def overtaken(*args: Any, **named: Any) -> Any:
        await inner(*args, **named)
        await service.revoke(token=login.session_token)
        raise StoreUnavailable

    lose._monkeypatch.setattr(sessions, "rotate", overtaken)

    assert await outcome(service.refresh(login.tokens.refresh_token)) == NOT_NOW


async def test_revoke(service: Service, lose: Lose) -> None:
    """A revocation that was committed is acknowledged, and counts here; one that was not never is."""
    login, kept = await service.login(), await service.login()
    await service.validate(login.session_token)
    lose.reply("sessions", "revoke")
    revoked = await service.revoke(token=login.session_token)
    lose.request("sessions", "revoke")
    refused = await outcome(service.revoke(token=kept.session_token))
    lose.nothing()

    assert revoked.revision == 1
    assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert refused == NOT_NOW
    assert await outcome(service.validate(kept.session_token)) == "OK"


async def test_create_user(service: Service, lose: Lose) -> None:
    """A user who was added is answered for, so that adding again is not refused as taken by somebody else."""
    lose.reply("users", "create")
    await service.add_user("bob")
    lose.request("users", "create")
    request = admin.CreateUserRequest(username="carol", password=PASSWORD)
    refused = await outcome(service.admin.CreateUser(request, metadata=service.by("root")))
    lose.nothing()

    assert refused == NOT_NOW
    assert await outcome(service.login("bob")) == "OK"
