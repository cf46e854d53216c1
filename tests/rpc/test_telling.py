"""What Introspect, ExchangeSession, BatchValidateSessions and ListSessions tell, and to whom."""

from typing import Any

from authsvc.core.clock import MINUTE, SECOND
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import Device
from tests.parts.service import ISSUER, Service, bearer, fields_of, outcome, refusal


async def listed(service: Service, caller: Any, **wanted: Any) -> Any:
    """ListSessions with any metadata."""
    return await service.auth.ListSessions(pb.ListSessionsRequest(**wanted), metadata=caller)


async def exchanged(service: Service, session_token: str, **wanted: Any) -> Any:
    """ExchangeSession as the gateway."""
    request = pb.ExchangeSessionRequest(session_token=session_token, **wanted)
    return await service.auth.ExchangeSession(request, metadata=service.by("gateway"))


async def test_introspect_each_kind(service: Service) -> None:
    """Of an active token of each kind one hears whose it is and until when."""
    login = await service.login()

    access = await service.introspect(login.tokens.access_token)
    session = await service.introspect(login.session_token)
    refresh = await service.introspect(login.tokens.refresh_token)

    assert [each.token_type for each in (access, session, refresh)] == [
        "access_token",
        "session_token",
        "refresh_token",
    ]
    for each in (access, session, refresh):
        assert (each.sub, each.sid, each.iss) == (login.session.user_id, login.session.id, ISSUER)
        assert (each.client_id, sorted(each.aud)) == ("web", ["billing", "orders"])
        assert each.scope.split() == ["orders.read", "orders.write"]
        assert each.iat <= login.session.create_time.seconds <= each.exp
        assert 0 < each.cache_until_time.ToMilliseconds() - service.clock() <= 5 * SECOND
    assert access.exp == login.tokens.access_expire_time.seconds
    assert access.jti


async def test_introspection_uses_nothing_up(service: Service) -> None:
    """Asking about a refresh token neither rotates it nor counts as a replay."""
    login = await service.login()
    for _ in range(5):
        assert (await service.introspect(login.tokens.refresh_token)).active

    assert not (await service.refresh(login.tokens.refresh_token)).replayed
    assert not (await service.introspect(login.tokens.refresh_token)).active
    assert [(await service.refresh(login.tokens.refresh_token)).replayed for _ in range(3)] == [True] * 3


async def test_inactive_is_nothing_else(service: Service) -> None:
    """What is unknown, expired, revoked, used up or meant for others is inactive, in the same bytes (RFC 7662)."""
    service.clock.stop()
    gone, used, expired, live = [await service.login() for _ in range(4)]
    await service.revoke(token=gone.session_token)
    await service.refresh(used.tokens.refresh_token)
    answers = [
        *[await service.introspect(token) for token in ("x", "a.b.c", "ats_x", service.keys["web"])],
        *[await service.introspect(token) for token in (gone.session_token, gone.tokens.refresh_token)],
        await service.introspect(gone.tokens.access_token),
        await service.introspect(used.tokens.refresh_token),
        *[
            await service.introspect(token, audience="other")
            for token in (live.session_token, live.tokens.access_token)
        ],
        await service.introspect(live.tokens.refresh_token, audience="other"),
    ]
    service.clock.move(31 * MINUTE)
    answers += [
        await service.introspect(token) for token in (expired.session_token, expired.tokens.access_token)
    ]

    assert {answer.SerializeToString() for answer in answers} == {b""}


async def test_audience_asked_for(service: Service) -> None:
    """A token that is meant for the audience asked for is active."""
    login = await service.login(audiences=["billing"])

    assert (await service.introspect(login.tokens.access_token, audience="billing")).active
    assert not (await service.introspect(login.tokens.access_token, audience="orders")).active


async def test_hint_changes_nothing(service: Service) -> None:
    """A wrong hint at the kind of token changes nothing (RFC 7662 §2.1)."""
    login = await service.login()

    answers = [
        await service.introspect(login.session_token, token_type_hint=hint)
        for hint in ("", "access_token", "refresh_token", "nonsense")
    ]

    assert all(answer.active for answer in answers)


async def test_exchange(service: Service) -> None:
    """A session token becomes an access token for some of the session's audiences and scopes, never for others."""
    login = await service.login()

    whole = await exchanged(service, login.session_token)
    narrow = await exchanged(service, login.session_token, audiences=["billing"], scopes=["orders.read"])
    wide = await refusal(exchanged(service, login.session_token, audiences=["billing", "elsewhere"]))

    told = await service.introspect(narrow.access_token)
    assert whole.session.id == login.session.id
    assert whole.token_type == "Bearer"
    assert (told.aud, told.scope, told.sid) == (["billing"], "orders.read", login.session.id)
    assert fields_of(wide) == ["audiences"]


async def test_exchanged_token_ends_with_the_session(service: Service) -> None:
    """It ends with the session, as every access token does."""
    login = await service.login()
    access = (await exchanged(service, login.session_token)).access_token

    await service.revoke(token=login.session_token)

    assert not (await service.introspect(access)).active
    assert await outcome(exchanged(service, login.session_token)) == "SESSION_NOT_ACTIVE"


async def test_batch_keeps_the_order(service: Service) -> None:
    """A batch has one answer per token, in order, also for a token that comes twice or is none."""
    one, other = await service.login("alice"), await service.login("bob")
    tokens = [other.session_token, "x", one.session_token, "", other.session_token, one.tokens.refresh_token]
    request = pb.BatchValidateSessionsRequest(session_tokens=tokens)

    response = await service.auth.BatchValidateSessions(request, metadata=service.by("gateway"))

    ids = [result.session.id for result in response.results]
    assert ids == [other.session.id, "", one.session.id, "", other.session.id, ""]
    assert [result.active for result in response.results] == [bool(found) for found in ids]


async def test_list_of_own(service: Service) -> None:
    """A user sees their own sessions, newest first, the calling one marked, with device and times and no secret."""
    first = await service.login(device=Device(user_agent="a browser", label="the kitchen"))
    second = await service.login()
    await service.login("bob")

    found = await listed(service, bearer(first.session_token))

    assert [session.id for session in found.sessions] == [second.session.id, first.session.id]
    assert [session.current for session in found.sessions] == [False, True]
    assert found.sessions[1].device.label == "the kitchen"
    assert found.sessions[1].username == "alice"
    assert not any(secret in str(found) for secret in ("ats_", "atr_", "argon2", "hash"))


async def test_list_of_others(service: Service) -> None:
    """An admin sees anybody's; a user nobody else's."""
    alice, bob = await service.login("alice"), await service.login("bob")
    wanted = {"user_id": alice.session.user_id}

    by_admin = await listed(service, service.by("root"), **wanted)

    assert [session.id for session in by_admin.sessions] == [alice.session.id]
    assert await outcome(listed(service, bearer(bob.session_token), **wanted)) == "CALLER_NOT_PERMITTED"
    assert await outcome(listed(service, service.by("web"), **wanted)) == "CALLER_NOT_PERMITTED"


async def test_list_in_pages(service_on_each: Service) -> None:
    """Pages follow one another without a gap or a repeat, also while sessions are added."""
    service = service_on_each
    logins = [await service.login() for _ in range(7)]
    caller, found, token = bearer(logins[0].session_token), [], ""

    while True:
        page = await listed(service, caller, page_size=3, page_token=token)
        found += [session.id for session in page.sessions]
        await service.login()
        token = page.next_page_token
        if not token:
            break

    assert found == [login.session.id for login in reversed(logins)]


async def test_ended_are_listed_if_asked_for(service: Service) -> None:
    """Sessions that have ended are listed only if asked for."""
    ended, live = await service.login(), await service.login()
    await service.revoke(token=ended.session_token)
    caller = bearer(live.session_token)

    without, with_ended = await listed(service, caller), await listed(service, caller, include_ended=True)

    assert [session.id for session in without.sessions] == [live.session.id]
    assert [session.id for session in with_ended.sessions] == [live.session.id, ended.session.id]


async def test_last_seen(service: Service) -> None:
    """A session's last use is known to within a quarter of its idle time."""
    service.clock.stop()
    login = await service.login()
    service.clock.move(8 * MINUTE)
    await service.validate(login.session_token)
    await service.app._last_seen.flush()

    (session,) = (await listed(service, service.by("root"), user_id=login.session.user_id)).sessions

    seen_after_ms = session.last_seen_time.ToMilliseconds() - login.session.create_time.ToMilliseconds()
    assert seen_after_ms == 8 * MINUTE
