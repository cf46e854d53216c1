"""With SQL down the answer is "not now", never "not you": what the cache and the view still know goes on."""

import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.contracts import RevokeOrder
from authsvc.core.model import AuditEvent, RevokeReason
from authsvc.core.tail import VIEW_BOUND_MS
from authsvc.core.tokens import TokenMint
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import PERMISSION_INTROSPECT
from tests.parts.postgres import Postgres
from tests.parts.service import (
    PASSWORD,
    Service,
    bearer,
    outcome,
    reason_of,
    refusal,
    retry_seconds_of,
    run_service,
)
from tests.parts.valkey import until


class Fragile:
    """An instance, one login, and a database that can go away."""

    def __init__(self, service: Service, postgres: Postgres, login: Any) -> None:
        self.service = service
        self.postgres = postgres
        self.login = login

    def cut(self) -> None:
        """The database dies as in a crash."""
        self.postgres.stop(signal.SIGQUIT)

    async def mend(self) -> None:
        """The database is back, and so is the instance."""
        self.postgres.start()
        await until(self._answers, within_s=10)

    async def _answers(self) -> bool:
        request = admin.ListUsersRequest(page_size=1)
        return await outcome(self.service.admin.ListUsers(request, metadata=self.service.by("root"))) == "OK"


@pytest.fixture
async def fragile(own_postgres: Postgres, valkey: EmbeddedValkey) -> AsyncIterator[Fragile]:
    """An instance over a database of its own, with one login in its cache."""
    url = own_postgres.url(await own_postgres.empty_migrated())
    async with run_service(url, valkey.url) as service:
        yield Fragile(service, own_postgres, await service.login())


def needing_sql(fragile: Fragile) -> dict[str, Any]:
    """A good call of every RPC that cannot do without SQL."""
    service, login = fragile.service, fragile.login
    auth, web, root = service.auth, service.by("web"), service.by("root")
    user = bearer(login.tokens.access_token)
    unknown = TokenMint(service.app.settings.secrets, lambda size: bytes(size)).session_token().text
    user_id = login.session.user_id
    return {
        "Login": auth.Login(pb.LoginRequest(username="alice", password=PASSWORD), metadata=web),
        "Login, wrong": auth.Login(pb.LoginRequest(username="alice", password="?"), metadata=web),
        "Refresh": service.refresh(login.tokens.refresh_token),
        "Refresh, narrowed": service.refresh(login.tokens.refresh_token, scopes=["orders.read"]),
        "Revoke, session token": service.revoke(token=login.session_token),
        "Revoke, refresh token": service.revoke(token=login.tokens.refresh_token),
        "Revoke, access token": service.revoke(token=login.tokens.access_token),
        "Revoke, all": auth.Revoke(pb.RevokeRequest(user_id=user_id), metadata=user),
        "Revoke, others": auth.Revoke(pb.RevokeRequest(other_sessions=True), metadata=user),
        "ValidateSession, not cached": service.validate(unknown),
        "BatchValidateSessions": auth.BatchValidateSessions(
            pb.BatchValidateSessionsRequest(session_tokens=[login.session_token, unknown]),
            metadata=service.by("gateway"),
        ),
        "Introspect, session": service.introspect(unknown),
        "Introspect, refresh": service.introspect(login.tokens.refresh_token),
        "ListSessions": auth.ListSessions(pb.ListSessionsRequest(), metadata=user),
        "ListSecurityEvents": auth.ListSecurityEvents(pb.ListSecurityEventsRequest(), metadata=user),
        "ChangePassword": auth.ChangePassword(
            pb.ChangePasswordRequest(current_password=PASSWORD, new_password="another long pass phrase"),
            metadata=user,
        ),
        "StepUp": auth.StepUp(pb.StepUpRequest(token=login.session_token, password=PASSWORD), metadata=web),
        "GetSecondFactor": auth.GetSecondFactor(pb.GetSecondFactorRequest(), metadata=user),
        "EnrollTotp": auth.EnrollTotp(pb.EnrollTotpRequest(password=PASSWORD), metadata=user),
        "ConfirmTotp": auth.ConfirmTotp(pb.ConfirmTotpRequest(one_time_code="123456"), metadata=user),
        "DisableTotp": auth.DisableTotp(pb.DisableTotpRequest(one_time_code="123456"), metadata=user),
        "RegenerateRecoveryCodes": auth.RegenerateRecoveryCodes(
            pb.RegenerateRecoveryCodesRequest(one_time_code="123456"), metadata=user
        ),
        "unknown caller": auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(unknown)),
        "CreateUser": service.admin.CreateUser(
            admin.CreateUserRequest(username="bob", password=PASSWORD), metadata=root
        ),
        "GetUser": service.admin.GetUser(admin.GetUserRequest(user_id=user_id), metadata=root),
        "ListUsers": service.admin.ListUsers(admin.ListUsersRequest(), metadata=root),
        "SetPassword": service.admin.SetPassword(
            admin.SetPasswordRequest(user_id=user_id, password=PASSWORD), metadata=root
        ),
        "DisableUser": service.admin.DisableUser(admin.DisableUserRequest(user_id=user_id), metadata=root),
        "EnableUser": service.admin.EnableUser(admin.EnableUserRequest(user_id=user_id), metadata=root),
        "ResetSecondFactor": service.admin.ResetSecondFactor(
            admin.ResetSecondFactorRequest(user_id=user_id), metadata=root
        ),
        "CreateClient": service.admin.CreateClient(
            admin.CreateClientRequest(client_id="shop", permissions=[PERMISSION_INTROSPECT]), metadata=root
        ),
        "ListClients": service.admin.ListClients(admin.ListClientsRequest(), metadata=root),
        "RotateClientKey": service.admin.RotateClientKey(
            admin.RotateClientKeyRequest(client_id="web"), metadata=root
        ),
        "RevokeClient": service.admin.RevokeClient(admin.RevokeClientRequest(client_id="web"), metadata=root),
    }


async def test_not_now(fragile: Fragile) -> None:
    """What needs SQL is UNAVAILABLE with a word on when to come back; nothing is burnt, ended or made by it."""
    service, login = fragile.service, fragile.login
    calls = needing_sql(fragile)
    fragile.cut()

    for name, call in calls.items():
        error = await refusal(call)
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"), (
            name
        )
        assert retry_seconds_of(error) == 1.0

    await fragile.mend()
    assert await outcome(service.validate(login.session_token)) == "OK"
    assert not (await service.refresh(login.tokens.refresh_token)).replayed
    assert (await service.app.stores.log.position()).revision == 0


async def test_what_is_known_goes_on(fragile: Fragile) -> None:
    """Sessions in the cache and access tokens are answered for without SQL: nothing can be revoked while it is down."""
    service, login = fragile.service, fragile.login
    fragile.cut()

    exchange = pb.ExchangeSessionRequest(session_token=login.session_token)

    assert (await service.validate(login.session_token)).session.id == login.session.id
    assert (await service.introspect(login.tokens.access_token)).active
    assert (await service.introspect(login.session_token)).active
    assert await outcome(service.auth.ExchangeSession(exchange, metadata=service.by("gateway"))) == "OK"
    assert await outcome(service.auth.GetKeySet(pb.GetKeySetRequest())) == "OK"


async def test_access_token_past_the_bound(fragile: Fragile) -> None:
    """An access token is answered for only while the view is fresh; then the answer is "not now"."""
    service, login = fragile.service, fragile.login
    fragile.cut()
    tail = service.app._tail
    later = tail._monotonic() + VIEW_BOUND_MS + SECOND
    tail._monotonic = lambda: later

    error = await refusal(service.introspect(login.tokens.access_token))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "VIEW_TOO_OLD")
    assert retry_seconds_of(error) == 1.0


async def test_caller_past_the_bound(service_on_each: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller's access token is looked at again once the log has been read, where the view was too old to know: it may
    have been revoked while this process stood still. (Guard: `is_fresh` in Callers.resolve.)"""
    service = service_on_each
    login = await service.login()
    audit = AuditEvent("session.revoked", service.clock(), session_id=login.session.id)
    order = RevokeOrder(service.clock(), RevokeReason.LOGOUT, MINUTE, audit)
    tail = service.app._tail
    monkeypatch.setattr(tail, "is_fresh", lambda: False)
    await service.app.stores.sessions.revoke(login.session.id, order)

    metadata = bearer(login.tokens.access_token)
    call = service.auth.ListSessions(pb.ListSessionsRequest(), metadata=metadata)

    assert await outcome(call) == "ACCESS_TOKEN_REVOKED"


async def test_forged_tokens_are_refused_all_the_same(fragile: Fragile) -> None:
    """What was never ours needs no SQL to be refused."""
    service = fragile.service
    fragile.cut()

    assert await outcome(service.validate("ats_" + "A" * 56)) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.refresh("atr_" + "A" * 84)) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert (await service.revoke(token="ats_" + "A" * 56)).revoked_count == 0


async def test_all_is_well_again(fragile: Fragile) -> None:
    """When SQL is back, the instance goes on by itself, and what was missed is found in the log."""
    service, login = fragile.service, fragile.login
    fragile.cut()
    await refusal(service.revoke(token=login.session_token))
    await fragile.mend()

    revoked = await service.revoke(token=login.session_token)

    assert (revoked.revision, revoked.revoked_count) == (1, 1)
    assert await outcome(service.validate(login.session_token, min_revision=1)) == "SESSION_NOT_ACTIVE"
