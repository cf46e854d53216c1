"""Logging in with a second factor: the challenge, the codes, and what they may not do."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import pytest

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.second_factor_contract import FREE_GUESSES
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.authenticator import STEP_MS, Authenticator, enrol
from tests.parts.service import (
    PASSWORD,
    Service,
    bearer,
    fields_of,
    outcome,
    refusal,
    retry_seconds_of,
    run_service,
)

RACERS = 48


def claims(access_token: str) -> dict[str, Any]:
    """What an access token says."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(access_token.split(".")[1] + "=="))
    return found


async def test_login_in_two_steps(service_on_each: Service) -> None:
    """The right password gets a challenge and nothing else; the right code gets the session that the first step asked
    for, with both factors on record."""
    service = service_on_each
    app = await enrol(service)
    device = resources.Device(ip_address="192.0.2.7", user_agent="a browser", label="phone")
    first = await service.login(audiences=["orders"], scopes=["orders.read"], device=device, remember=True)

    second = await app.answer(first.challenge, app.next_code())

    assert (first.session_token, first.HasField("tokens"), first.HasField("session")) == ("", False, False)
    assert list(first.challenge.methods) == ["otp", "recovery_code"]
    assert first.challenge.expire_time.ToMilliseconds() > service.clock() + 4 * MINUTE
    session = second.session
    assert (list(session.amr), session.acr) == (["pwd", "otp", "mfa"], "aal2")
    assert (list(session.audiences), list(session.scopes)) == (["orders"], ["orders.read"])
    assert session.device == device
    lives = session.session_expire_time.ToMilliseconds() - session.create_time.ToMilliseconds()
    assert lives == service.app.settings.remember_absolute
    said = claims(second.tokens.access_token)
    assert (said["amr"], said["acr"]) == (["pwd", "otp", "mfa"], "aal2")
    assert said["auth_time"] == session.create_time.seconds
    assert await outcome(service.validate(second.session_token)) == "OK"


async def test_credentials_are_those_of_the_first_step(service: Service) -> None:
    """What is issued was settled by the first step."""
    app = await enrol(service)

    only_tokens = await app.login(credentials=[resources.CREDENTIAL_TOKENS])

    assert only_tokens.session_token == ""
    assert only_tokens.tokens.refresh_token


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "alice"),
        ("password", PASSWORD),
        ("audiences", ["billing"]),
        ("scopes", ["orders.write"]),
        ("credentials", [resources.CREDENTIAL_TOKENS]),
        ("remember", True),
        ("cookies", True),
    ],
)
async def test_the_second_step_asks_for_nothing(service: Service, field: str, value: Any) -> None:
    """A second step that asks for anything is refused, so that it cannot widen what the first was granted.
    (Guard: _SECOND_STEP in check_second_step.)"""
    app = await enrol(service)
    challenge = await app.challenge(audiences=["orders"])
    request = pb.LoginRequest(
        challenge_token=challenge.challenge_token, one_time_code=app.next_code(), **{field: value}
    )

    refused = await refusal(service.auth.Login(request, metadata=service.by("web")))

    assert fields_of(refused) == [field]


async def test_a_wrong_password_tells_nothing(service: Service) -> None:
    """A wrong password gets the same bytes whether or not the user has a second factor, or exists."""
    await enrol(service)
    await service.add_user("bob")

    async def status(username: str) -> tuple[Any, ...]:
        request = pb.LoginRequest(username=username, password="quite the wrong pass phrase")
        error = await refusal(service.auth.Login(request, metadata=service.by("web")))
        return error.code(), error.details(), dict(error.trailing_metadata() or ())

    assert await status("alice") == await status("bob") == await status("nobody")


async def _other_client(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    return app.answer(challenge, app.next_code(), client_id="app")


async def _too_late(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    app.service.clock.move(5 * MINUTE)
    return app.answer(challenge, app.next_code())


async def _tampered(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    text = challenge.challenge_token
    changed = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
    return app.answer(pb.Challenge(challenge_token=changed), app.next_code())


async def _junk(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    return app.answer(pb.Challenge(challenge_token="ath_not base64 at all é"), app.next_code())


async def _other_kind(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    other = await app.service.login("bob")
    return app.answer(pb.Challenge(challenge_token=other.tokens.access_token), app.next_code())


async def _used(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    await app.answer(challenge, app.next_code())
    return app.answer(challenge, app.next_code())


async def _password_changed(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    service = app.service
    request = admin.SetPasswordRequest(
        user_id=service.user_ids["alice"], password="another rather long pass phrase"
    )
    await service.admin.SetPassword(request, metadata=service.by("root"))
    return app.answer(challenge, app.next_code())


async def _disabled(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    service = app.service
    request = admin.DisableUserRequest(user_id=service.user_ids["alice"])
    await service.admin.DisableUser(request, metadata=service.by("root"))
    return app.answer(challenge, app.next_code())


async def _factor_given_up(app: Authenticator, challenge: pb.Challenge) -> Awaitable[Any]:
    service = app.service
    request = admin.ResetSecondFactorRequest(user_id=service.user_ids["alice"])
    await service.admin.ResetSecondFactor(request, metadata=service.by("root"))
    return app.answer(challenge, app.next_code())


@pytest.mark.parametrize(
    "use",
    [
        _other_client,
        _too_late,
        _tampered,
        _junk,
        _other_kind,
        _used,
        _password_changed,
        _disabled,
        _factor_given_up,
    ],
)
async def test_a_challenge_that_is_over(
    service_on_each: Service, use: Callable[[Authenticator, pb.Challenge], Awaitable[Awaitable[Any]]]
) -> None:
    """A challenge is for one client, for five minutes, for one session, and for the user as they were: whatever is
    wrong with it, the answer is to begin anew. (Guards: the place of the seal and `expires_at` in
    LoginChallenges; `_is_over` in Login.answer, and again SessionStore.create.)"""
    app = await enrol(service_on_each)
    challenge = await app.challenge()

    call = await use(app, challenge)

    assert await outcome(call) == "CHALLENGE_NOT_ACTIVE"


async def test_a_challenge_begins_one_session(service_on_each: Service) -> None:
    """Of many answers to one challenge at once, each with a good code of its own, one begins the session. (Guard:
    `except RuleBroken` in SessionStore.create.)"""
    service = service_on_each
    app = await enrol(service)
    challenge = await app.challenge()

    ended = await asyncio.gather(*(outcome(app.answer(challenge, code)) for code in app.recovery_codes[:6]))

    assert ended.count("OK") == 1
    assert set(ended) == {"OK", "CHALLENGE_NOT_ACTIVE"}


async def test_a_challenge_is_nothing_else(service: Service) -> None:
    """A challenge speaks for nobody and is no token: it is neither a bearer nor anything to ask about."""
    app = await enrol(service)
    text = (await app.challenge()).challenge_token

    assert await outcome(service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(text))) != "OK"
    assert await outcome(service.validate(text)) == "SESSION_NOT_ACTIVE"
    assert not (await service.introspect(text)).active
    assert await outcome(service.refresh(text)) == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_another_code_for_the_same_challenge(service: Service) -> None:
    """After a wrong code the same challenge takes the right one."""
    app = await enrol(service)
    challenge = await app.challenge()

    wrong = await outcome(app.answer(challenge, app.wrong_code()))

    assert wrong == "INVALID_ONE_TIME_CODE"
    assert await outcome(app.answer(challenge, app.next_code())) == "OK"


async def test_a_code_is_good_once(service_on_each: Service) -> None:
    """A code that was accepted, here or for anything else, is never accepted again. (Guards: `after` in matching_step
    and `last_step <` in _ACCEPT_STEP; either alone will do, but for codes at the same time.)"""
    app = await enrol(service_on_each)
    challenge, another = await app.challenge(), await app.challenge()
    code = app.next_code()

    assert await outcome(app.answer(challenge, code)) == "OK"
    assert await outcome(app.answer(another, code)) == "INVALID_ONE_TIME_CODE"


async def test_the_code_of_the_enrolment_is_used(service: Service) -> None:
    """The code that confirmed an enrolment does not open a login."""
    app = await enrol(service)

    assert await outcome(app.answer(await app.challenge(), app.code())) == "INVALID_ONE_TIME_CODE"


async def test_one_of_48(service_on_each: Service) -> None:
    """Of 48 who use one code at the same time exactly one gets in. (Guard: `last_step <` in _ACCEPT_STEP.)"""
    app = await enrol(service_on_each)
    challenges = [await app.challenge() for _ in range(8)]
    code = app.next_code()

    ended = await asyncio.gather(
        *(outcome(app.answer(challenges[racer % 8], code)) for racer in range(RACERS))
    )

    assert ended.count("OK") == 1
    assert set(ended) <= {"OK", "INVALID_ONE_TIME_CODE", "RATE_LIMITED", "CHALLENGE_NOT_ACTIVE"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(-2, False), (-1, True), (0, True), (1, True), (2, False)],
)
async def test_drift(service: Service, steps: int, expected: bool) -> None:
    """A clock may be one step off, either way, and no more."""
    app = await enrol(service)
    challenge = await app.challenge()
    service.clock.stop()
    service.clock.move(3 * STEP_MS)

    assert (await outcome(app.answer(challenge, app.code(steps))) == "OK") is expected


async def test_a_recovery_code_in_the_place_of_a_code(service_on_each: Service) -> None:
    """A recovery code opens a login once, however it is typed, and is on record."""
    service = service_on_each
    app = await enrol(service)
    code = app.recovery_codes[0]
    login = await app.answer(await app.challenge(), code.upper().replace("-", " "))

    again = await outcome(app.answer(await app.challenge(), code))

    assert login.session.acr == "aal2"
    assert again == "INVALID_ONE_TIME_CODE"
    standing = await service.auth.GetSecondFactor(
        pb.GetSecondFactorRequest(), metadata=bearer(login.session_token)
    )
    assert standing.recovery_codes_left == 9


async def test_one_recovery_code_of_48(service_on_each: Service) -> None:
    """Of 48 who use one recovery code for logins of their own exactly one gets in. (Guard: rows of _USE_CODE.)"""
    app = await enrol(service_on_each)
    challenges = [await app.challenge() for _ in range(8)]

    ended = await asyncio.gather(
        *(outcome(app.answer(challenges[racer % 8], app.recovery_codes[0])) for racer in range(RACERS))
    )

    assert ended.count("OK") == 1


async def test_recovery_codes_are_ten_and_all_differ(service: Service) -> None:
    """There are ten recovery codes of 80 random bits each."""
    first, second = await enrol(service, "alice"), await enrol(service, "bob")

    assert len({*first.recovery_codes, *second.recovery_codes}) == 20
    assert all(len(base64.b32decode(code.replace("-", "").upper())) == 10 for code in first.recovery_codes)


async def test_guesses_have_an_end(service_on_each: Service) -> None:
    """Who knows the password has five guesses, and then has to wait, from any number of challenges, even with the
    right code; a recovery code opens the account nevertheless, and forgives. (Guard: `charge` in OneTimeCodes.)"""
    service = service_on_each
    app = await enrol(service)
    challenges = [await app.challenge() for _ in range(FREE_GUESSES + 1)]
    wrong = app.wrong_code()

    guesses = [await outcome(app.answer(challenge, wrong)) for challenge in challenges[:FREE_GUESSES]]
    blocked = await refusal(app.answer(challenges[-1], app.code(1)))

    assert set(guesses) == {"INVALID_ONE_TIME_CODE"}
    assert blocked.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_seconds_of(blocked) <= 30
    assert await outcome(app.answer(challenges[-1], app.recovery_codes[0])) == "OK"
    assert await outcome(app.answer(challenges[0], app.next_code())) == "OK"


async def test_guesses_survive_the_loss_of_everything_but_sql(
    database_url: str, own_valkey: EmbeddedValkey
) -> None:
    """Neither an instance's end nor an empty cache gives new guesses, nor does another instance. (Guard: guesses are
    counted in second_factors.)"""
    async with run_service(database_url, own_valkey.url) as service:
        app = await enrol(service)
        wrong = app.wrong_code()
        challenge = await app.challenge()
        for _ in range(FREE_GUESSES):
            await outcome(app.answer(challenge, wrong))

    async with run_service(database_url, "none") as service:
        service.user_ids["alice"] = "known"
        app = Authenticator(service, app.secret)
        refused = await outcome(app.answer(await app.challenge(), wrong))

    assert refused == "RATE_LIMITED"


async def test_waiting_helps(service: Service) -> None:
    """After the wait there is another guess."""
    app = await enrol(service)
    challenge = await app.challenge()
    for _ in range(FREE_GUESSES):
        await outcome(app.answer(challenge, app.wrong_code()))
    service.clock.move(31 * SECOND)

    assert await outcome(app.answer(challenge, app.code())) == "OK"


async def test_what_is_no_code_is_no_guess(service: Service) -> None:
    """What cannot be a code is refused without using guesses up."""
    app = await enrol(service)
    challenge = await app.challenge()
    for text in ("12345", "1234567", "12345a", "½½½½½½", "x", "abcd-efgh-ijkl") * 2:
        assert await outcome(app.answer(challenge, text)) == "INVALID_ONE_TIME_CODE"

    assert await outcome(app.answer(challenge, app.next_code())) == "OK"


async def test_claims_stay_across_refreshes(service: Service) -> None:
    """`auth_time`, `amr` and `acr` are those of the login, however often the tokens are renewed (RFC 9068 §2.2.1)."""
    app = await enrol(service)
    login = await app.login()
    first = claims(login.tokens.access_token)
    service.clock.move(4 * MINUTE)

    renewed = claims((await service.refresh(login.tokens.refresh_token)).tokens.access_token)

    assert {name: first[name] for name in ("auth_time", "amr", "acr")} == {
        name: renewed[name] for name in ("auth_time", "amr", "acr")
    }
    assert renewed["iat"] > first["iat"]


async def test_introspection_shows_how(service: Service) -> None:
    """Introspection of each kind of token tells when and how the user proved who they are (RFC 9470 §6.2)."""
    app = await enrol(service)
    login = await app.login()

    found = [
        await service.introspect(token)
        for token in (login.session_token, login.tokens.access_token, login.tokens.refresh_token)
    ]

    assert {(tuple(each.amr), each.acr) for each in found} == {(("pwd", "otp", "mfa"), "aal2")}
    assert {each.auth_time for each in found} == {login.session.create_time.seconds}
