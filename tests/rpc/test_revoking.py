"""Who may end which sessions, and what that ends."""

from typing import Any

import grpc
import pytest

from authsvc.core.clock import MINUTE, SECOND
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.service import PASSWORD, Service, bearer, outcome, reason_of, refusal


async def revoke_as(service: Service, caller: Any, **target: Any) -> Any:
    """Revoke with any metadata."""
    return await service.auth.Revoke(pb.RevokeRequest(**target), metadata=caller)


async def is_dead(service: Service, login: Any) -> bool:
    """Whether every token of a login is refused."""
    return (
        await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        and not (await service.introspect(login.tokens.access_token)).active
        and await outcome(service.refresh(login.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    )


async def is_alive(service: Service, login: Any) -> bool:
    """Whether its session token is good."""
    return await outcome(service.validate(login.session_token)) == "OK"


@pytest.mark.parametrize("kind", ["session_token", "refresh_token", "access_token"])
@pytest.mark.parametrize("caller", ["nobody", "client", "user", "admin"])
async def test_holder(service_on_each: Service, kind: str, caller: str) -> None:
    """Whoever holds a token of a session, of any kind, may end it, and then every token of it has ended."""
    service = service_on_each
    login = await service.login()
    token = login.session_token if kind == "session_token" else getattr(login.tokens, kind)
    metadata = {
        "nobody": (),
        "client": service.by("web"),
        "user": bearer(login.tokens.access_token),
        "admin": service.by("root"),
    }[caller]

    revoked = await revoke_as(service, metadata, token=token)

    assert (revoked.revision, revoked.revoked_count) == (1, 1)
    assert await is_dead(service, login)


async def test_other_client(service: Service) -> None:
    """A client cannot end a session that was begun through another, though it holds a token."""
    login = await service.login()

    for client_id in ("app", "gateway"):
        error = await refusal(service.revoke(client_id, token=login.tokens.refresh_token))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_PERMITTED")

    assert await is_alive(service, login)


async def test_idempotent(service: Service) -> None:
    """To revoke what never was is OK and changes nothing (RFC 7009)."""
    login = await service.login()
    await service.revoke(token=login.session_token)

    again = [
        await service.revoke(token=token) for token in ("ats_unknown", "x", "a.b.c", service.keys["web"])
    ]

    assert {(each.revision, each.revoked_count) for each in again} == {(0, 0)}
    assert (await service.app.stores.log.position()).revision == 1


async def test_after_a_lost_reply(service_on_each: Service) -> None:
    """To revoke again is OK, changes nothing, and tells a revision by which the session has ended, whatever names it:
    so whoever lost the reply reads their own revocation, too. (Guard: `position` in Revoke.revoke.)"""
    service = service_on_each
    login = await service.login()
    by_web, root = bearer(service.keys["web"]), service.by("root")
    other = await service.login("bob")
    first = await service.revoke(token=login.session_token)
    later = await service.revoke(token=other.session_token)

    again = [
        await service.auth.Revoke(pb.RevokeRequest(**{name: value}), metadata=caller)
        for name, value, caller in (
            ("token", login.session_token, by_web),
            ("token", login.tokens.refresh_token, by_web),
            ("token", login.tokens.access_token, by_web),
            ("session_id", login.session.id, root),
            ("user_id", login.session.user_id, root),
        )
    ]

    assert {(each.revision >= first.revision, each.revoked_count) for each in again} == {(True, 0)}
    assert (await service.app.stores.log.position()).revision == later.revision
    ended = service.validate(login.session_token, min_revision=again[0].revision)
    assert await outcome(ended) == "SESSION_NOT_ACTIVE"


async def test_used_refresh_token(service: Service) -> None:
    """A refresh token that was used up still names its session: who holds it may end it."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)

    revoked = await service.revoke(token=login.tokens.refresh_token)

    assert revoked.revoked_count == 1


async def test_expired_access_token(service: Service) -> None:
    """An access token past its expiry names nothing any more, and that is OK."""
    login = await service.login()
    service.clock.move(6 * MINUTE)

    revoked = await service.revoke(token=login.tokens.access_token)

    assert revoked.revoked_count == 0
    assert await is_alive(service, login)


async def test_by_session_id(service: Service) -> None:
    """A user ends their own sessions by id, an admin anybody's; nobody else."""
    alice, bob = await service.login("alice"), await service.login("bob")
    target = {"session_id": alice.session.id}

    refused = [
        await outcome(revoke_as(service, metadata, **target))
        for metadata in ((), service.by("web"), service.by("gateway"), bearer(bob.session_token))
    ]
    revoked = await revoke_as(service, bearer(alice.tokens.access_token), **target)
    by_admin = await revoke_as(service, service.by("root"), session_id=bob.session.id)

    assert refused == ["CREDENTIALS_MISSING"] + ["CALLER_NOT_PERMITTED"] * 3
    assert (revoked.revoked_count, by_admin.revoked_count) == (1, 1)
    assert await is_dead(service, alice)


async def test_all_of_a_user(service_on_each: Service) -> None:
    """A user ends all their sessions, an admin anybody's; nobody else."""
    service = service_on_each
    logins = [await service.login("alice") for _ in range(3)]
    bob = await service.login("bob")
    target = {"user_id": logins[0].session.user_id}

    refused = [
        await outcome(revoke_as(service, metadata, **target))
        for metadata in ((), service.by("web"), bearer(bob.session_token))
    ]
    revoked = await revoke_as(service, bearer(logins[0].session_token), **target)

    assert refused == ["CREDENTIALS_MISSING", "CALLER_NOT_PERMITTED", "CALLER_NOT_PERMITTED"]
    assert (revoked.revision, revoked.revoked_count) == (3, 3)
    assert [await is_dead(service, login) for login in logins] == [True] * 3
    assert await is_alive(service, bob)


async def test_all_but_this_one(service: Service) -> None:
    """A user ends all their sessions but the one that they call with."""
    here, *others = [await service.login() for _ in range(3)]
    other_user = await service.login("bob")

    revoked = await revoke_as(service, bearer(here.session_token), other_sessions=True)
    refused = [
        await outcome(revoke_as(service, metadata, other_sessions=True))
        for metadata in ((), service.by("web"), service.by("root"))
    ]

    assert revoked.revoked_count == 2
    assert refused == ["CREDENTIALS_MISSING", "CALLER_NOT_PERMITTED", "CALLER_NOT_PERMITTED"]
    assert [await is_dead(service, login) for login in others] == [True, True]
    assert await is_alive(service, here)
    assert await is_alive(service, other_user)


@pytest.mark.parametrize(
    ("caller", "reason", "recorded"),
    [
        ("client", 0, resources.REVOKE_REASON_LOGOUT),
        ("user", 0, resources.REVOKE_REASON_LOGOUT),
        ("other session", 0, resources.REVOKE_REASON_USER),
        ("admin", 0, resources.REVOKE_REASON_ADMIN),
        ("client", resources.REVOKE_REASON_COMPROMISED, resources.REVOKE_REASON_COMPROMISED),
        ("admin", resources.REVOKE_REASON_EXPIRED, resources.REVOKE_REASON_EXPIRED),
    ],
)
async def test_reason(
    service: Service,
    caller: str,
    reason: resources.RevokeReason.ValueType,
    recorded: resources.RevokeReason.ValueType,
) -> None:
    """The list of sessions says why one has ended: as the caller said, or as follows from who it was."""
    login, other = await service.login(), await service.login()
    metadata = {
        "client": service.by("web"),
        "user": bearer(login.session_token),
        "other session": bearer(other.session_token),
        "admin": service.by("root"),
    }[caller]

    await revoke_as(service, metadata, token=login.session_token, reason=reason)

    request = pb.ListSessionsRequest(include_ended=True)
    listed = await service.auth.ListSessions(request, metadata=bearer(other.session_token))
    ended = next(session for session in listed.sessions if session.id == login.session.id)
    assert ended.revoke_reason == recorded
    assert ended.HasField("revoke_time")


async def test_password_change_ends_all(service_on_each: Service) -> None:
    """A new password ends every session of the user, and the old password is no good."""
    service = service_on_each
    logins = [await service.login() for _ in range(2)]
    request = admin.SetPasswordRequest(user_id=logins[0].session.user_id, password="another long pass phrase")

    changed = await service.admin.SetPassword(request, metadata=service.by("root"))

    assert (changed.revision, changed.revoked_count) == (2, 2)
    assert [await is_dead(service, login) for login in logins] == [True, True]
    login = pb.LoginRequest(username="alice", password=PASSWORD)
    assert await outcome(service.auth.Login(login, metadata=service.by("web"))) == "INVALID_CREDENTIALS"
    login.password = "another long pass phrase"
    assert await outcome(service.auth.Login(login, metadata=service.by("web"))) == "OK"


async def test_disabling_ends_all(service_on_each: Service) -> None:
    """A disabled user has no session and gets none; enabled again, they log in anew and the old ones stay ended."""
    service = service_on_each
    login = await service.login()
    root, user_id = service.by("root"), login.session.user_id

    disabled = await service.admin.DisableUser(admin.DisableUserRequest(user_id=user_id), metadata=root)
    again = await service.admin.DisableUser(admin.DisableUserRequest(user_id=user_id), metadata=root)
    while_disabled = await outcome(service.login())
    enabled = await service.admin.EnableUser(admin.EnableUserRequest(user_id=user_id), metadata=root)

    assert (disabled.revoked_count, again.revoked_count) == (1, 0)
    assert disabled.user.HasField("disable_time")
    assert not enabled.user.HasField("disable_time")
    assert while_disabled == "INVALID_CREDENTIALS"
    assert await is_dead(service, login)
    assert await is_alive(service, await service.login())


async def test_revoked_client(service: Service) -> None:
    """After a client is revoked its sessions cannot be refreshed; they live on until they end, or are ended."""
    login = await service.login()
    request = admin.RevokeClientRequest(client_id="web")

    first = await service.admin.RevokeClient(request, metadata=service.by("root"))
    again = await service.admin.RevokeClient(request, metadata=service.by("root"))

    assert first.client.HasField("revoke_time")
    assert first == again
    assert await outcome(service.refresh(login.tokens.refresh_token)) == "CALLER_UNAUTHENTICATED"
    assert await is_alive(service, login)
    assert (await service.revoke("root", token=login.session_token)).revoked_count == 1


async def test_revocation_outlives_what_it_forbids(service: Service) -> None:
    """An entry of the log lasts until nothing that it forbids could still be alive."""
    service.clock.stop()
    login = await service.login(remember=True)
    await service.revoke(token=login.session_token)

    (entry,) = await service.app.stores.log.list_since(0, 10)

    assert entry.expires_at >= login.session.session_expire_time.ToMilliseconds()
    assert entry.expires_at >= login.tokens.access_expire_time.ToMilliseconds() + 15 * SECOND
