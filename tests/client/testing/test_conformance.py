"""What the authsvc for tests promises is what authsvc does: each test runs against both."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.strict import KeySet, verify_access_token
from authsvc_client.testing import bearer
from tests.client.testing.either import run_fake
from tests.parts.service import (
    ISSUER,
    PASSWORD,
    SCOPES,
    Service,
    _detail,
    fields_of,
    outcome,
    reason_of,
    refusal,
    retry_seconds_of,
)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.fixture
async def fake() -> AsyncIterator[Service]:
    """The authsvc for tests."""
    async with run_fake() as running:
        yield running


@pytest.fixture(params=["service", "fake"])
def either(request: pytest.FixtureRequest) -> Service:
    """The real service, and the one for tests."""
    running: Service = request.getfixturevalue(request.param)
    return running


async def test_login_gives_a_session_and_both_credentials(either: Service) -> None:
    """A login without wishes issues both credentials, for the client's audiences and the user's scopes."""
    response = await either.login()

    assert response.session_token.startswith("ats_")
    assert response.tokens.refresh_token.startswith("atr_")
    assert response.tokens.token_type == "Bearer"
    assert list(response.session.scopes) == list(SCOPES)
    assert list(response.tokens.audiences) == ["orders", "billing"]
    assert response.session.username == "alice"
    assert response.session.user_id == either.user_ids["alice"]
    assert response.session.client_id == "web"


async def test_opaque_tokens_look_alike(either: Service) -> None:
    """Opaque tokens have the lengths that services size their columns and headers for."""
    response = await either.login()

    assert len(response.session_token) == 60
    assert len(response.tokens.refresh_token) == 88
    assert len(either.keys["web"]) == 60


@pytest.mark.parametrize(
    ("wanted", "has_session", "has_tokens"),
    [(resources.CREDENTIAL_SESSION, True, False), (resources.CREDENTIAL_TOKENS, False, True)],
)
async def test_login_issues_only_what_is_wanted(
    either: Service, wanted: Any, has_session: bool, has_tokens: bool
) -> None:
    """`credentials` narrows what a login issues, and the session has no deadline for what was not issued."""
    response = await either.login(credentials=[wanted])

    assert bool(response.session_token) == response.session.HasField("session_expire_time") == has_session
    assert response.HasField("tokens") == response.session.HasField("refresh_expire_time") == has_tokens


async def test_login_grants_no_more_than_allowed(either: Service) -> None:
    """Scopes and audiences that may not be granted are refused by name of the field."""
    await either.add_user()

    scopes = await refusal(either.login(scopes=["root"]))
    audiences = await refusal(either.login(audiences=["elsewhere"]))

    assert (reason_of(scopes), fields_of(scopes)) == ("INVALID_REQUEST", ["scopes"])
    assert (reason_of(audiences), fields_of(audiences)) == ("INVALID_REQUEST", ["audiences"])


async def test_login_tells_no_user_from_no_password(either: Service) -> None:
    """An unknown user and a wrong password are refused alike, under the issuer's host."""
    await either.add_user()
    wrong = [
        pb.LoginRequest(username="alice", password=PASSWORD + "!"),
        pb.LoginRequest(username="nobody", password=PASSWORD),
    ]

    refused = [await refusal(either.auth.Login(each, metadata=either.by("web"))) for each in wrong]

    assert [reason_of(each) for each in refused] == ["INVALID_CREDENTIALS"] * 2
    assert {each.code() for each in refused} == {grpc.StatusCode.UNAUTHENTICATED}
    assert {_detail(each, error_details_pb2.ErrorInfo).domain for each in refused} == {"auth.example.com"}


async def test_callers_are_told_apart(either: Service) -> None:
    """Nobody, somebody unknown, a bad JWT and a caller without the permission each have their reason."""
    login = await either.login()
    request = pb.ValidateSessionRequest(session_token=login.session_token)
    callers = {
        "CREDENTIALS_MISSING": (),
        "CALLER_UNAUTHENTICATED": bearer("atc_" + "A" * 56),
        "ACCESS_TOKEN_INVALID": bearer("no.token.atall"),
        "CALLER_NOT_PERMITTED": either.by("web"),
    }

    outcomes = [
        await outcome(either.auth.ValidateSession(request, metadata=each)) for each in callers.values()
    ]
    by_refresh_token = await outcome(
        either.auth.ValidateSession(request, metadata=bearer(login.tokens.refresh_token))
    )
    twice = await outcome(
        either.auth.ValidateSession(request, metadata=either.by("gateway") + either.by("gateway"))
    )

    assert outcomes == list(callers)
    assert by_refresh_token == twice == "CALLER_UNAUTHENTICATED"


async def test_access_tokens_verify_under_the_published_keys(either: Service) -> None:
    """An access token passes the strict check under the key set that GetKeySet gives, as a document and as messages."""
    login = await either.login(scopes=["orders.read"])
    keys = await either.auth.GetKeySet(pb.GetKeySetRequest())

    token = verify_access_token(
        login.tokens.access_token, KeySet.from_jwks(keys.jwks), issuer=ISSUER, now=either.clock()
    )

    assert (token.subject, token.session_id) == (login.session.user_id, login.session.id)
    assert token.scopes == {"orders.read"}
    assert token.expires_at == login.tokens.access_expire_time.ToMilliseconds()
    assert token.amr == ("pwd",)
    assert token.key_id == keys.keys[0].key_id
    assert keys.keys[0].state == resources.SIGNING_KEY_STATE_ACTIVE
    assert keys.max_age.seconds == 300


async def test_refresh_rotates(either: Service) -> None:
    """A refresh token gives its successor and an access token of the same session, and the successor goes on."""
    login = await either.login()

    first = await either.refresh(login.tokens.refresh_token)
    second = await either.refresh(first.tokens.refresh_token)

    tokens = {login.tokens.refresh_token, first.tokens.refresh_token, second.tokens.refresh_token}
    assert len(tokens) == 3
    assert not first.replayed
    assert first.session.id == login.session.id
    assert first.tokens.access_token != login.tokens.access_token


async def test_a_lost_reply_gets_the_same_successor_three_times(either: Service) -> None:
    """A refresh token sent again within 30 s gets the same successor, at most three times; then the session ends."""
    login = await either.login()
    first = await either.refresh(login.tokens.refresh_token)

    again = [await either.refresh(login.tokens.refresh_token) for _ in range(3)]
    once_more = await outcome(either.refresh(login.tokens.refresh_token))

    assert {each.tokens.refresh_token for each in again} == {first.tokens.refresh_token}
    assert all(each.replayed for each in again)
    assert once_more == "REFRESH_TOKEN_REUSED"
    assert await outcome(either.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert await outcome(either.refresh(first.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_a_late_replay_is_reuse(either: Service) -> None:
    """A refresh token sent again after more than 30 s was stolen: the session ends."""
    either.clock.stop()
    login = await either.login()
    first = await either.refresh(login.tokens.refresh_token)
    either.clock.move(30 * SECOND)
    in_time = await outcome(either.refresh(login.tokens.refresh_token))
    either.clock.move(1)

    late = await outcome(either.refresh(login.tokens.refresh_token))

    assert (in_time, late) == ("OK", "REFRESH_TOKEN_REUSED")
    assert await outcome(either.refresh(first.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_an_old_refresh_token_is_reuse(either: Service) -> None:
    """Once its successor was used, a refresh token sent again ends the session."""
    login = await either.login()
    first = await either.refresh(login.tokens.refresh_token)
    second = await either.refresh(first.tokens.refresh_token)

    stale = await outcome(either.refresh(login.tokens.refresh_token))

    assert stale == "REFRESH_TOKEN_REUSED"
    assert await outcome(either.refresh(second.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_racing_refreshes_have_one_winner(either: Service) -> None:
    """Of four refreshes of one token at once one rotates, and the others get its successor."""
    login = await either.login()

    responses = await asyncio.gather(*(either.refresh(login.tokens.refresh_token) for _ in range(4)))

    assert len({each.tokens.refresh_token for each in responses}) == 1
    assert sorted(each.replayed for each in responses) == [False, True, True, True]


async def test_only_the_owner_refreshes(either: Service) -> None:
    """Another client's refresh is refused and the session lives on."""
    login = await either.login()

    refused = await outcome(either.refresh(login.tokens.refresh_token, client_id="app"))

    assert refused == "CALLER_NOT_PERMITTED"
    assert await outcome(either.refresh(login.tokens.refresh_token)) == "OK"


async def test_refresh_narrows_and_never_widens(either: Service) -> None:
    """A refresh may ask for less; for more it is refused, and the refresh token stays good."""
    login = await either.login(scopes=["orders.read"])

    wider = await refusal(either.refresh(login.tokens.refresh_token, scopes=["orders.write"]))
    narrower = await either.refresh(login.tokens.refresh_token, audiences=["orders"])

    assert (reason_of(wider), fields_of(wider)) == ("INVALID_REQUEST", ["scopes"])
    assert list(narrower.tokens.audiences) == ["orders"]
    assert not narrower.replayed


async def test_refresh_tokens_end(either: Service) -> None:
    """A refresh token that is not used for 30 days is not active, nor is one that was never made."""
    login = await either.login()
    either.clock.move(30 * DAY)

    outcomes = [
        await outcome(either.refresh(each))
        for each in (login.tokens.refresh_token, "atr_" + "A" * 84, "nonsense")
    ]

    assert outcomes == ["REFRESH_TOKEN_NOT_ACTIVE"] * 3


async def test_validation_moves_the_idle_deadline(either: Service) -> None:
    """A session token ends 30 minutes after it was last validated, and after 12 hours however busy it is."""
    either.clock.stop()
    login = await either.login()
    lived_ms = 0
    while lived_ms < 12 * HOUR - 20 * MINUTE:
        either.clock.move(20 * MINUTE)
        lived_ms += 20 * MINUTE
        await either.validate(login.session_token)

    before = await outcome(either.validate(login.session_token))
    either.clock.move(20 * MINUTE)

    assert before == "OK"
    assert await outcome(either.validate(login.session_token)) == "SESSION_NOT_ACTIVE"


async def test_an_idle_session_ends(either: Service) -> None:
    """A session token that nobody validates ends at its idle deadline, exactly."""
    either.clock.stop()
    one, other = await either.login(), await either.login()
    either.clock.move(30 * MINUTE - 1)
    just_before = await outcome(either.validate(one.session_token))
    either.clock.move(1)

    assert just_before == "OK"
    assert await outcome(either.validate(other.session_token)) == "SESSION_NOT_ACTIVE"


async def test_a_batch_answers_in_order(either: Service) -> None:
    """A batch has one result per token, in order; none and more than 256 are refused."""
    login = await either.login()
    tokens = ["nonsense", login.session_token, login.tokens.refresh_token, login.session_token]
    request = pb.BatchValidateSessionsRequest(session_tokens=tokens)
    by = either.by("gateway")

    response = await either.auth.BatchValidateSessions(request, metadata=by)
    refused = [
        await refusal(
            either.auth.BatchValidateSessions(
                pb.BatchValidateSessionsRequest(session_tokens=["x"] * size), metadata=by
            )
        )
        for size in (0, 257)
    ]

    assert [each.active for each in response.results] == [False, True, False, True]
    assert response.results[1].session.id == login.session.id
    assert not response.results[1].session.username
    assert [fields_of(each) for each in refused] == [["session_tokens"]] * 2


async def test_exchange_mints_for_upstream(either: Service) -> None:
    """A session token becomes an access token for a part of its audiences and scopes."""
    login = await either.login()
    request = pb.ExchangeSessionRequest(
        session_token=login.session_token, audiences=["billing"], scopes=["orders.read"]
    )

    exchanged = await either.auth.ExchangeSession(request, metadata=either.by("gateway"))

    found = await either.introspect(exchanged.access_token, audience="billing")
    assert (found.scope, list(found.aud)) == ("orders.read", ["billing"])
    assert exchanged.session.id == found.sid == login.session.id


async def test_introspection_tells_of_each_kind(either: Service) -> None:
    """Introspection tells the kind, user, session and issuer of an active token of any kind."""
    login = await either.login()
    tokens = {
        "access_token": login.tokens.access_token,
        "refresh_token": login.tokens.refresh_token,
        "session_token": login.session_token,
    }

    found = {kind: await either.introspect(token) for kind, token in tokens.items()}

    for kind, each in found.items():
        assert each.active
        assert each.token_type == kind
        assert (each.sub, each.sid) == (login.session.user_id, login.session.id)
        assert (each.iss, each.client_id) == (ISSUER, "web")
        assert sorted(each.scope.split()) == sorted(SCOPES)
        assert each.exp * SECOND > each.cache_until_time.ToMilliseconds() - SECOND
    assert found["access_token"].jti


async def test_introspection_tells_nothing_of_the_rest(either: Service) -> None:
    """Whatever is not active, or meant for another audience, is answered by an empty message."""
    login = await either.login()
    await either.refresh(login.tokens.refresh_token)
    asked = {login.tokens.refresh_token: "", login.session_token: "elsewhere", "nonsense": "", "a.b.c": ""}

    found = [await either.introspect(token, audience=audience) for token, audience in asked.items()]

    assert [each.SerializeToString() for each in found] == [b""] * 4


@pytest.mark.parametrize("kind", ["session", "refresh", "access"])
async def test_revoking_any_token_ends_all(either: Service, kind: str) -> None:
    """Revoking one token ends its session with all others, takes one revision, and doing it again is OK."""
    login = await either.login()
    texts = {
        "session": login.session_token,
        "refresh": login.tokens.refresh_token,
        "access": login.tokens.access_token,
    }

    revoked = await either.revoke(token=texts[kind])
    again = await either.revoke(token=texts[kind])

    assert (revoked.revision, revoked.revoked_count) == (1, 1)
    assert (again.revision, again.revoked_count) == (1, 0)
    assert await outcome(either.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert await outcome(either.refresh(login.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    for text in texts.values():
        assert not (await either.introspect(text)).active


async def test_a_revoked_caller_is_told_so(either: Service) -> None:
    """A user who calls with a token of an ended session is refused: revoked JWT, unknown session token."""
    login = await either.login()
    await either.revoke(token=login.session_token)

    by_access = await outcome(
        either.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.tokens.access_token))
    )
    by_session = await outcome(
        either.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.session_token))
    )

    assert (by_access, by_session) == ("ACCESS_TOKEN_REVOKED", "CALLER_UNAUTHENTICATED")


async def test_an_expired_caller_is_told_so(either: Service) -> None:
    """A user who calls with an expired access token is told to refresh."""
    login = await either.login()
    either.clock.move(5 * MINUTE + 15 * SECOND)

    expired = await outcome(
        either.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.tokens.access_token))
    )

    assert expired == "ACCESS_TOKEN_EXPIRED"


async def test_who_may_revoke_what(either: Service) -> None:
    """Nobody may revoke by id, a client only its own sessions' tokens, a user only their own; an admin may all."""
    login, other = await either.login(), await either.login("bob")
    mine = pb.RevokeRequest(session_id=login.session.id)

    outcomes = [
        await outcome(either.auth.Revoke(mine)),
        await outcome(either.auth.Revoke(mine, metadata=either.by("web"))),
        await outcome(either.auth.Revoke(mine, metadata=bearer(other.session_token))),
        await outcome(either.revoke("app", token=login.session_token)),
        await outcome(either.revoke("root", session_id=login.session.id)),
        await outcome(either.auth.Revoke(pb.RevokeRequest(), metadata=either.by("root"))),
        await outcome(either.revoke(token="unknown")),
    ]

    assert outcomes == [
        "CREDENTIALS_MISSING",
        "CALLER_NOT_PERMITTED",
        "CALLER_NOT_PERMITTED",
        "CALLER_NOT_PERMITTED",
        "OK",
        "INVALID_REQUEST",
        "OK",
    ]


async def test_a_user_ends_all_other_sessions(either: Service) -> None:
    """`other_sessions` ends all sessions of the user but the calling one, and of nobody else."""
    mine = [await either.login() for _ in range(3)]
    bobs = await either.login("bob")
    request = pb.RevokeRequest(other_sessions=True)

    revoked = await either.auth.Revoke(request, metadata=bearer(mine[0].session_token))

    outcomes = [await outcome(either.validate(each.session_token)) for each in (*mine, bobs)]
    assert (revoked.revision, revoked.revoked_count) == (2, 2)
    assert outcomes == ["OK", "SESSION_NOT_ACTIVE", "SESSION_NOT_ACTIVE", "OK"]


async def test_a_user_lists_their_sessions(either: Service) -> None:
    """A user sees their own sessions, newest first, the calling one marked, ended ones with the reason if asked for."""
    either.clock.stop()
    first = await either.login()
    either.clock.move(SECOND)
    second = await either.login()
    either.clock.move(SECOND)
    ended = await either.login()
    await either.revoke(token=ended.session_token)
    by = bearer(second.session_token)

    live = await either.auth.ListSessions(pb.ListSessionsRequest(), metadata=by)
    every = await either.auth.ListSessions(pb.ListSessionsRequest(include_ended=True), metadata=by)
    page = await either.auth.ListSessions(pb.ListSessionsRequest(page_size=1), metadata=by)
    rest = await either.auth.ListSessions(
        pb.ListSessionsRequest(page_size=1, page_token=page.next_page_token), metadata=by
    )

    assert [each.id for each in live.sessions] == [second.session.id, first.session.id]
    assert [each.current for each in live.sessions] == [True, False]
    assert every.sessions[0].id == ended.session.id
    assert every.sessions[0].revoke_reason == resources.REVOKE_REASON_LOGOUT
    assert [each.id for each in rest.sessions] == [first.session.id]
    assert not rest.next_page_token


async def test_a_revision_that_is_not_reached(either: Service) -> None:
    """Reading at a revision that does not exist yet is UNAVAILABLE, with advice when to try again."""
    login = await either.login()
    other = await either.login()
    revision = (await either.revoke(token=other.session_token)).revision
    request = pb.ValidateSessionRequest(session_token=login.session_token, min_revision=revision + 1)

    reached = await outcome(either.validate(login.session_token, min_revision=revision))
    refused = await refusal(either.auth.ValidateSession(request, metadata=either.by("gateway")))

    assert reached == "OK"
    assert (refused.code(), reason_of(refused)) == (grpc.StatusCode.UNAVAILABLE, "REVISION_NOT_REACHED")
    assert retry_seconds_of(refused) > 0


async def test_watch_begins_with_all_that_is_in_force(either: Service) -> None:
    """Watch begins with a snapshot of the live revocations and the keys, at the newest revision."""
    login = await either.login()
    revoked = await either.revoke(token=login.session_token)
    await either.introspect("wait until the view is", min_revision=revoked.revision)
    stream = either.auth.Watch(pb.WatchRequest(), metadata=either.by("gateway"))

    first = await _next(stream, "snapshot")

    keys = await either.auth.GetKeySet(pb.GetKeySetRequest())
    assert first.revision == 1
    assert [each.session_id for each in first.revocations] == [login.session.id]
    assert [each.key_id for each in first.keys] == [each.key_id for each in keys.keys]
    assert not first.partial
    stream.cancel()


async def test_watch_tells_revocations_in_order_and_beats(either: Service) -> None:
    """A follower hears of each revocation in revision order, and of a heartbeat at the newest revision."""
    logins = [await either.login() for _ in range(3)]
    stream = either.auth.Watch(pb.WatchRequest(), metadata=either.by("gateway"))
    await _next(stream, "snapshot")

    for each in logins:
        await either.revoke(token=each.session_token)
    events = [event async for event in _until(stream, heartbeat=3)]

    heard = _entries(events)
    assert [each.revision for each in heard] == [1, 2, 3]
    assert [each.session_id for each in heard] == [each.session.id for each in logins]
    stream.cancel()


async def test_watch_goes_on_where_it_was(either: Service) -> None:
    """A follower that names a revision gets the keys and what came after, no snapshot; a negative one is refused."""
    logins = [await either.login() for _ in range(3)]
    for each in logins:
        await either.revoke(token=each.session_token)
    await either.introspect("wait until the view is", min_revision=3)
    stream = either.auth.Watch(pb.WatchRequest(from_revision=1), metadata=either.by("gateway"))

    heard = [event async for event in _until(stream, heartbeat=3)]

    refused = await refusal(
        anext(aiter(either.auth.Watch(pb.WatchRequest(from_revision=-1), metadata=either.by("gateway"))))
    )
    assert heard[0].HasField("key_set")
    assert [each.revision for each in _entries(heard)] == [2, 3]
    assert not any(each.HasField("snapshot") for each in heard)
    assert reason_of(refused) == "INVALID_REQUEST"
    stream.cancel()


async def test_watch_needs_a_permission(either: Service) -> None:
    """Only a client with `introspect` may watch."""
    stream = either.auth.Watch(pb.WatchRequest(), metadata=either.by("web"))

    refused = await refusal(anext(aiter(stream)))

    assert reason_of(refused) == "CALLER_NOT_PERMITTED"


async def _until(stream: Any, heartbeat: int) -> AsyncIterator[Any]:
    """The events up to the heartbeat that says that nothing is missing up to this revision."""
    async with asyncio.timeout(10):
        async for event in stream:
            yield event
            if event.heartbeat.revision == heartbeat:
                return


def _entries(events: list[Any]) -> list[Any]:
    """The revocations in the events, alone and in batches."""
    found = []
    for event in events:
        found += [event.revocation] if event.HasField("revocation") else []
        found += event.revocation_batch.revocations
    return found


async def _next(stream: Any, kind: str) -> Any:
    """The next event of this kind."""
    async with asyncio.timeout(10):
        async for response in stream:
            if response.WhichOneof("event") == kind:
                return getattr(response, kind)
    raise AssertionError(f"the stream ended before {kind}")
