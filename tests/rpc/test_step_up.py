"""Proving again who one is, within a session."""

import asyncio
from typing import Any

from authsvc.core.clock import DAY, MINUTE
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.authenticator import enrol
from tests.parts.service import PASSWORD, Service, bearer, fields_of, outcome, refusal, run_service
from tests.rpc.test_second_factor import claims

RACERS = 48


async def step_up(service: Service, token: str, client_id: str = "web", **proof: Any) -> pb.StepUpResponse:
    """Step up as the client."""
    request = pb.StepUpRequest(token=token, **proof)
    return await service.auth.StepUp(request, metadata=service.by(client_id))


async def test_a_code_raises_the_session(service_on_each: Service) -> None:
    """After a step-up the session, its listing, its validation and every new access token tell of the new proof, and of
    the time of it; the login's own time stays. (Guards: `amr` and `stepped_up_at` in _STEP_UP.)"""
    service = service_on_each
    login = await service.login()
    app = await enrol(service)
    service.clock.move(3 * MINUTE)

    raised = await step_up(service, login.session_token, one_time_code=app.code())

    at = raised.session.auth_time
    assert at.ToMilliseconds() >= login.session.create_time.ToMilliseconds() + 3 * MINUTE
    validated = (await service.validate(raised.session_token)).session
    listed = await service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(raised.session_token))
    [current] = [session for session in listed.sessions if session.current]
    for session in (raised.session, validated, current):
        assert (list(session.amr), session.acr) == (["pwd", "otp", "mfa"], "aal2")
        assert (session.auth_time, session.create_time) == (at, login.session.create_time)
    refreshed = await service.refresh(login.tokens.refresh_token)
    for access_token in (raised.access_token, refreshed.tokens.access_token):
        said = claims(access_token)
        assert (said["auth_time"], said["acr"], said["sid"]) == (at.seconds, "aal2", login.session.id)


async def test_the_session_token_is_replaced(service_on_each: Service) -> None:
    """The session token before is good for nothing any more, in the cache and out of it (ASVS 7.2.4). (Guard: `forget`
    in StepUp._raise.)"""
    service = service_on_each
    login = await service.login()
    await service.validate(login.session_token)

    raised = await step_up(service, login.session_token, password=PASSWORD)

    assert raised.session_token != login.session_token
    assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.validate(raised.session_token)) == "OK"
    assert (await service.validate(raised.session_token)).session.id == login.session.id


async def test_on_another_instance(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Another instance, which has validated the session token before, refuses it too, at once."""
    async with run_service(sqlite_url, valkey.url) as here, run_service(sqlite_url, valkey.url) as there:
        login = await here.login()
        await there.validate(login.session_token)

        raised = await step_up(here, login.session_token, password=PASSWORD)

        assert await outcome(there.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        assert await outcome(there.validate(raised.session_token)) == "OK"


async def test_without_a_cache_that_answers(sqlite_url: str, own_valkey: EmbeddedValkey) -> None:
    """If the cache cannot be told, it is believed no more: the old token is refused when the cache is back. (Guard:
    `_go_cold` in Announcer._drop.)"""
    async with run_service(sqlite_url, own_valkey.url) as service:
        login = await service.login()
        await service.validate(login.session_token)
        epoch = (await service.app.stores.log.position()).epoch
        await own_valkey.stop()

        raised = await step_up(service, login.session_token, password=PASSWORD)

        assert (await service.app.stores.log.position()).epoch == epoch + 1
        assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        assert await outcome(service.validate(raised.session_token)) == "OK"


async def test_a_password_renews_the_proof(service: Service) -> None:
    """Without a second factor the password is asked for: the proof is new, and as strong as before."""
    login = await service.login()
    service.clock.move(MINUTE)

    raised = await step_up(service, login.session_token, password=PASSWORD)

    assert (list(raised.session.amr), raised.session.acr) == (["pwd"], "aal1")
    assert raised.session.auth_time.ToMilliseconds() > login.session.auth_time.ToMilliseconds()
    assert claims(raised.access_token)["auth_time"] == raised.session.auth_time.seconds


async def test_the_strongest_is_asked_for(service: Service) -> None:
    """Where a second factor is in force the password alone raises nothing. (Guard: `_prove`.)"""
    login = await service.login()
    app = await enrol(service)

    by_password = await refusal(step_up(service, login.session_token, password=PASSWORD))
    wrong_too = await outcome(
        step_up(service, login.session_token, password="wrong", one_time_code=app.next_code())
    )
    both = await outcome(
        step_up(service, login.session_token, password=PASSWORD, one_time_code=app.next_code())
    )

    assert fields_of(by_password) == ["one_time_code"]
    assert (wrong_too, both) == ("INVALID_CREDENTIALS", "OK")


async def test_refused_step_ups_change_nothing(service: Service) -> None:
    """A wrong proof leaves session and tokens as they are, and guesses have an end."""
    login = await service.login()
    wrong = "quite the wrong pass phrase"
    ended = [await outcome(step_up(service, login.session_token, password=wrong)) for _ in range(6)]

    assert ended == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"]
    assert (await service.validate(login.session_token)).session.auth_time == login.session.auth_time


async def test_guesses_of_codes_have_an_end(service: Service) -> None:
    """Guesses within a session are the same few as at the front door."""
    login = await service.login()
    app = await enrol(service)
    wrong = app.wrong_code()
    ended = [await outcome(step_up(service, login.session_token, one_time_code=wrong)) for _ in range(6)]

    assert ended == ["INVALID_ONE_TIME_CODE"] * 5 + ["RATE_LIMITED"]
    assert await outcome(app.answer(await app.challenge(), app.code(1))) == "RATE_LIMITED"


async def test_by_an_access_token(service_on_each: Service) -> None:
    """An access token names its session too; the new one is for no more than it was, and the session token changes all
    the same."""
    service = service_on_each
    login = await service.login()
    narrow = await service.refresh(login.tokens.refresh_token, audiences=["orders"], scopes=["orders.read"])

    raised = await step_up(service, narrow.tokens.access_token, password=PASSWORD)

    said = claims(raised.access_token)
    assert (said["aud"], said["scope"]) == (["orders"], "orders.read")
    assert await outcome(service.validate(raised.session_token)) == "OK"
    assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"


async def test_only_what_the_login_issued(service: Service) -> None:
    """A session without a session token gets none, one without tokens no access token."""
    tokens = await service.login(credentials=[resources.CREDENTIAL_TOKENS])
    session = await service.login(credentials=[resources.CREDENTIAL_SESSION])

    of_tokens = await step_up(service, tokens.tokens.access_token, password=PASSWORD)
    of_session = await step_up(service, session.session_token, password=PASSWORD)

    assert (of_tokens.session_token, bool(of_tokens.access_token)) == ("", True)
    assert (bool(of_session.session_token), of_session.access_token) == (True, "")
    assert not of_session.HasField("access_expire_time")


async def test_only_the_owner(service: Service) -> None:
    """Another client may not step up a session, whoever types what."""
    login = await service.login()

    assert await outcome(step_up(service, login.session_token, "app", password=PASSWORD)) == (
        "CALLER_NOT_PERMITTED"
    )


async def test_of_no_live_session(service: Service) -> None:
    """What is no token of a live session raises nothing."""
    login, other = await service.login(), await service.login()
    await service.revoke(token=login.session_token)
    service.clock.move(MINUTE)

    async def ended(token: str) -> str:
        return await outcome(step_up(service, token, password=PASSWORD))

    assert await ended(login.session_token) == "SESSION_NOT_ACTIVE"
    assert await ended(login.tokens.access_token) == "ACCESS_TOKEN_REVOKED"
    assert await ended(other.tokens.refresh_token) == "SESSION_NOT_ACTIVE"
    assert await ended(service.keys["web"]) == "SESSION_NOT_ACTIVE"
    assert await ended("junk") == "ACCESS_TOKEN_INVALID"
    service.clock.move(DAY)
    assert await ended(other.session_token) == "SESSION_NOT_ACTIVE"


async def test_deadlines_stay(service: Service) -> None:
    """A step-up moves no absolute deadline; revocation ends the new token with the session."""
    login = await service.login()
    service.clock.move(5 * MINUTE)
    raised = await step_up(service, login.session_token, password=PASSWORD)

    await service.revoke(token=login.tokens.refresh_token)

    assert raised.session.session_expire_time == login.session.session_expire_time
    assert raised.session.refresh_expire_time == login.session.refresh_expire_time
    assert await outcome(service.validate(raised.session_token)) == "SESSION_NOT_ACTIVE"


async def test_many_at_once(service_on_each: Service) -> None:
    """Of 48 step-ups with one code one raises the session, and its token is the one that is good."""
    service = service_on_each
    login = await service.login()
    app = await enrol(service)
    code = app.next_code()

    done = await asyncio.gather(
        *(step_up(service, login.session_token, one_time_code=code) for _ in range(RACERS)),
        return_exceptions=True,
    )

    [raised] = [each for each in done if isinstance(each, pb.StepUpResponse)]
    assert await outcome(service.validate(raised.session_token)) == "OK"


async def test_what_is_on_record(service: Service) -> None:
    """A step-up is on record with its proof and where it came from, and so is each that failed."""
    device = resources.Device(ip_address="192.0.2.9", user_agent="a browser")
    login = await service.login()
    await outcome(step_up(service, login.session_token, password="wrong", device=device))
    await step_up(service, login.session_token, password=PASSWORD, device=device)
    request = admin.ListAuditEventsRequest(session_id=login.session.id)

    found = (await service.admin.ListAuditEvents(request, metadata=service.by("root"))).events

    assert [each.event for each in found] == ["session.stepped_up", "login.failed", "session.created"]
    stepped_up = found[0]
    assert (stepped_up.actor, stepped_up.user_id) == (login.session.user_id, login.session.user_id)
    assert (stepped_up.device, stepped_up.reason, stepped_up.client_id) == (device, "pwd", "web")
