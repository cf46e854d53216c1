"""Two instances over the same stores: what one has revoked, the other refuses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import RevokeOrder
from authsvc.core.model import AuditEvent, RevokeReason
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import PERMISSION_ADMIN
from tests.parts.service import Service, bearer, outcome, reason_of, refusal, retry_seconds_of, run_service
from tests.parts.valkey import until

Pair = tuple[Service, Service]


@pytest.fixture(params=["cache", "no cache"])
async def pair(
    request: pytest.FixtureRequest, database_url: str, valkey: EmbeddedValkey
) -> AsyncIterator[Pair]:
    """Two instances, with and without a cache, on each database."""
    cache_url = valkey.url if request.param == "cache" else "none"
    async with run_service(database_url, cache_url) as one, run_service(database_url, cache_url) as other:
        yield one, other


async def test_own_revocation_is_read(pair: Pair) -> None:
    """Revoke at A, pass the revision, read at B: B has it, for every kind of token."""
    one, other = pair
    login = await one.login()
    assert await outcome(other.validate(login.session_token)) == "OK"
    assert (await other.introspect(login.tokens.access_token)).active

    revision = (await one.revoke(token=login.session_token)).revision

    assert await outcome(other.validate(login.session_token, min_revision=revision)) == "SESSION_NOT_ACTIVE"
    assert not (await other.introspect(login.tokens.access_token, min_revision=revision)).active
    batch = pb.BatchValidateSessionsRequest(session_tokens=[login.session_token], min_revision=revision)
    found = await other.auth.BatchValidateSessions(batch, metadata=other.by("gateway"))
    assert (found.results[0].active, found.revision) == (False, revision)
    exchange = pb.ExchangeSessionRequest(session_token=login.session_token, min_revision=revision)
    call = other.auth.ExchangeSession(exchange, metadata=other.by("gateway"))
    assert await outcome(call) == "SESSION_NOT_ACTIVE"


async def test_acknowledged_again(pair: Pair) -> None:
    """A revocation that was committed by an instance that could tell nobody counts here once it is acknowledged here.

    Guarded by Announcer.announce, which reads the log before a revocation that finds nothing live is acknowledged.
    """
    one, other = pair
    for _ in range(3):
        login = await one.login()
        await other.validate(login.session_token)
        audit = AuditEvent("session.revoked", one.clock(), session_id=login.session.id)
        order = RevokeOrder(one.clock(), RevokeReason.LOGOUT, MINUTE, audit)
        await one.app.stores.sessions.revoke(login.session.id, order)

        revoked = await other.revoke(token=login.session_token)

        assert revoked.revoked_count == 0
        assert await outcome(other.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        assert not (await other.introspect(login.tokens.access_token)).active


async def test_read_by_itself(pair: Pair) -> None:
    """Without being asked, the other instance refuses within a second."""
    one, other = pair
    login = await one.login()
    await one.revoke(token=login.session_token)

    async def refused() -> bool:
        introspected = await other.introspect(login.tokens.access_token)
        return not introspected.active and await outcome(other.validate(login.session_token)) != "OK"

    await until(refused, within_s=1.0)


async def test_same_instance_at_once(pair: Pair) -> None:
    """The instance that revoked refuses from the moment that it says so."""
    one, _ = pair
    for _ in range(3):
        login = await one.login(credentials=())
        await one.revoke(token=login.tokens.refresh_token)
        assert not (await one.introspect(login.tokens.access_token)).active
        assert await outcome(one.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        call = one.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.tokens.access_token))
        assert await outcome(call) == "ACCESS_TOKEN_REVOKED"


async def test_unreachable_revision(service: Service) -> None:
    """A revision that does not come is UNAVAILABLE in time, with a word on when to come back, never an old answer."""
    login = await service.login()
    started = asyncio.get_running_loop().time()
    request = pb.ValidateSessionRequest(session_token=login.session_token, min_revision=2**62)

    error = await refusal(service.auth.ValidateSession(request, metadata=service.by("gateway"), timeout=10))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "REVISION_NOT_REACHED")
    assert retry_seconds_of(error) == 1.0
    assert asyncio.get_running_loop().time() - started < 5


async def test_revision_is_waited_for(pair: Pair) -> None:
    """A call that asks for the next revision is answered as soon as it is there."""
    one, other = pair
    login, ended = await one.login(), await one.login()
    request = pb.ValidateSessionRequest(session_token=login.session_token, min_revision=1)
    waiting = asyncio.ensure_future(_read(other, request))
    await asyncio.sleep(0)

    revision = (await one.revoke(token=ended.session_token)).revision

    assert (await waiting).revision >= revision == 1


async def _read(service: Service, request: pb.ValidateSessionRequest) -> pb.ValidateSessionResponse:
    response: pb.ValidateSessionResponse = await service.auth.ValidateSession(
        request, metadata=service.by("gateway")
    )
    return response


async def test_new_client_is_known_everywhere(pair: Pair) -> None:
    """A key made at one instance opens the other at once; a client revoked at one is refused by the other soon."""
    one, other = pair
    request = admin.CreateClientRequest(client_id="ops", permissions=[PERMISSION_ADMIN])
    key = (await one.admin.CreateClient(request, metadata=one.by("root"))).client_key

    async def refused() -> bool:
        call = other.admin.ListUsers(admin.ListUsersRequest(), metadata=bearer(key))
        return await outcome(call) == "CALLER_UNAUTHENTICATED"

    assert not await refused()
    await one.admin.RevokeClient(admin.RevokeClientRequest(client_id="ops"), metadata=one.by("root"))
    await until(refused, within_s=1.5)


async def test_rotated_key_overlaps(pair: Pair) -> None:
    """After a rotation the old key is good for the overlap asked for, at every instance, and no longer."""
    one, other = pair
    request = admin.RotateClientKeyRequest(client_id="gateway", overlap_seconds=60)
    new = (await one.admin.RotateClientKey(request, metadata=one.by("root"))).client_key

    def call(metadata: tuple[tuple[str, str], ...]) -> Any:
        return other.auth.Introspect(pb.IntrospectRequest(token="x"), metadata=metadata)

    assert await outcome(call(bearer(new))) == "OK"
    assert await outcome(call(one.by("gateway"))) == "OK"
    other.clock.move(2 * MINUTE)
    await other.app._registry.load()
    assert await outcome(call(one.by("gateway"))) == "CALLER_UNAUTHENTICATED"
    assert await outcome(call(bearer(new))) == "OK"


async def test_refresh_anywhere(pair: Pair) -> None:
    """A session may be refreshed at any instance, one after the other, and a replay at the other gets the successor."""
    one, other = pair
    login = await one.login()

    first = await other.refresh(login.tokens.refresh_token)
    again = await one.refresh(login.tokens.refresh_token)
    second = await one.refresh(first.tokens.refresh_token)

    assert again.tokens.refresh_token == first.tokens.refresh_token
    assert not second.replayed


async def test_access_token_verifies_anywhere(pair: Pair) -> None:
    """Both instances sign with the same key and publish the same set: that key, and the one to follow it."""
    one, other = pair

    first = await one.auth.GetKeySet(pb.GetKeySetRequest())
    second = await other.auth.GetKeySet(pb.GetKeySetRequest())

    assert first == second
    assert len(first.keys) == 2
    assert '"d"' not in first.jwks
