"""Enrolling, confirming and giving up a second factor, by the user and by an administrator."""

from collections.abc import Awaitable

import pyotp
import pytest
from google.protobuf.message import Message

from authsvc.core.clock import MINUTE
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.authenticator import Authenticator, enrol
from tests.parts.service import PASSWORD, Service, bearer, fields_of, outcome, refusal, run_service
from tests.rpc.test_nothing_usable_stored import dump_of_cache, dump_of_database

Metadata = tuple[tuple[str, str], ...]


async def own(service: Service, username: str = "alice") -> Metadata:
    """The user as caller, by a session without a second factor or, where there is one, by both."""
    return bearer((await service.login(username)).session_token)


async def own_with(app: Authenticator) -> Metadata:
    """A user with a second factor as caller."""
    return bearer((await app.login()).session_token)


async def enrolment(service: Service, caller: Metadata, **proof: str) -> pb.EnrollTotpResponse:
    """Ask for a secret."""
    return await service.auth.EnrollTotp(pb.EnrollTotpRequest(**proof), metadata=caller)


async def confirm(service: Service, caller: Metadata, code: str) -> pb.ConfirmTotpResponse:
    """Confirm it."""
    return await service.auth.ConfirmTotp(pb.ConfirmTotpRequest(one_time_code=code), metadata=caller)


async def standing(service: Service, caller: Metadata, **of: str) -> pb.GetSecondFactorResponse:
    """How a second factor stands."""
    return await service.auth.GetSecondFactor(pb.GetSecondFactorRequest(**of), metadata=caller)


async def reset(service: Service, user_id: str) -> admin.ResetSecondFactorResponse:
    """Reset as an administrator."""
    request = admin.ResetSecondFactorRequest(user_id=user_id)
    return await service.admin.ResetSecondFactor(request, metadata=service.by("root"))


async def events(service: Service, user_id: str) -> list[admin.AuditEvent]:
    """What is on record of a user's second factor, in order."""
    request = admin.ListAuditEventsRequest(user_id=user_id, page_size=100)
    found = (await service.admin.ListAuditEvents(request, metadata=service.by("root"))).events
    return [each for each in reversed(found) if each.event.startswith(("second_factor", "recovery_code"))]


async def test_the_secret_is_for_an_app(service: Service) -> None:
    """A secret comes as text and as an otpauth URI that any app reads, naming issuer and user, with 160 bits."""
    made = await enrolment(service, await own(service), password=PASSWORD)

    parsed = pyotp.parse_uri(made.uri)
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.secret, parsed.issuer, parsed.name) == (made.secret, "auth.example.com", "alice")
    assert (parsed.digits, parsed.interval, len(parsed.byte_secret())) == (6, 30, 20)


async def test_named_otherwise(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """AUTHSVC_TOTP_ISSUER is what apps show."""
    async with run_service(sqlite_url, valkey.url, totp_issuer="Example Shop") as service:
        made = await enrolment(service, await own(service), password=PASSWORD)

    assert pyotp.parse_uri(made.uri).issuer == "Example Shop"


async def test_not_in_force_until_confirmed(service: Service) -> None:
    """A secret that no code has confirmed changes nothing."""
    caller = await own(service)
    await enrolment(service, caller, password=PASSWORD)

    assert (await service.login()).session_token
    assert not (await standing(service, caller)).HasField("totp_confirm_time")


async def test_enrolling_needs_the_password(service: Service) -> None:
    """A session left open is not enough for putting a second factor on somebody's account. (Guard: `_prove`.)"""
    caller = await own(service)

    nothing = await refusal(enrolment(service, caller))
    wrong = await outcome(enrolment(service, caller, password="quite the wrong pass phrase"))
    code = await refusal(enrolment(service, caller, one_time_code="123456"))

    assert (fields_of(nothing), wrong, fields_of(code)) == (["password"], "INVALID_CREDENTIALS", ["password"])


async def test_guesses_of_the_password_have_an_end(service: Service) -> None:
    """Whoever sits at a session left open has few guesses at the password."""
    caller = await own(service)
    for _ in range(5):
        await outcome(enrolment(service, caller, password="quite the wrong pass phrase"))

    for _ in range(3):
        assert await outcome(enrolment(service, caller, password=PASSWORD)) == "RATE_LIMITED"
    request = admin.ListAuditEventsRequest(event="login.throttled")
    found = (await service.admin.ListAuditEvents(request, metadata=service.by("root"))).events
    assert [event.user_id for event in found] == [service.user_ids["alice"]]


async def test_only_users_have_second_factors(service: Service) -> None:
    """A client has none, not even an administrator's."""
    for client_id in ("web", "root"):
        request = pb.EnrollTotpRequest(password=PASSWORD)
        call = service.auth.EnrollTotp(request, metadata=service.by(client_id))

        assert await outcome(call) == "CALLER_NOT_PERMITTED"


async def test_confirming_in_time(service_on_each: Service) -> None:
    """A secret can be confirmed for ten minutes, with a code of its own, once."""
    service = service_on_each
    caller = await own(service)
    nothing = await outcome(confirm(service, caller, "123456"))
    app = Authenticator(service, (await enrolment(service, caller, password=PASSWORD)).secret)
    wrong = await outcome(confirm(service, caller, app.wrong_code()))
    service.clock.move(10 * MINUTE)
    late = await outcome(confirm(service, caller, app.code()))
    app = Authenticator(service, (await enrolment(service, caller, password=PASSWORD)).secret)
    service.clock.move(9 * MINUTE)

    in_time = await confirm(service, caller, app.code())

    assert (nothing, wrong, late) == (
        "SECOND_FACTOR_NOT_ENROLLED",
        "INVALID_ONE_TIME_CODE",
        "SECOND_FACTOR_NOT_ENROLLED",
    )
    assert len(in_time.recovery_codes) == 10
    assert await outcome(confirm(service, caller, app.code(1))) == "SECOND_FACTOR_NOT_ENROLLED"


async def test_another_app(service_on_each: Service) -> None:
    """Another app is enrolled on the word of the one in force, which stays so until the other is confirmed."""
    service = service_on_each
    app = await enrol(service)
    caller = await own_with(app)
    by_password = await refusal(enrolment(service, caller, password=PASSWORD))
    made = await enrolment(service, caller, one_time_code=app.next_code())
    other = Authenticator(service, made.secret)
    still = await outcome(app.login())

    codes = (await confirm(service, caller, other.next_code())).recovery_codes

    assert fields_of(by_password) == ["one_time_code"]
    assert still == "OK"
    assert await outcome(app.answer(await app.challenge(), app.next_code())) == "INVALID_ONE_TIME_CODE"
    assert await outcome(other.login()) == "OK"
    assert set(codes).isdisjoint(app.recovery_codes)
    assert await outcome(app.answer(await app.challenge(), app.recovery_codes[0])) == "INVALID_ONE_TIME_CODE"


async def test_disabling(service_on_each: Service) -> None:
    """A second factor ends by a code of its own, and then the password alone is enough again."""
    service = service_on_each
    app = await enrol(service)
    caller = await own_with(app)

    def disable(code: str) -> Awaitable[pb.DisableTotpResponse]:
        return service.auth.DisableTotp(pb.DisableTotpRequest(one_time_code=code), metadata=caller)

    wrong = await outcome(disable(app.wrong_code()))
    right = await outcome(disable(app.next_code()))
    again = await outcome(disable(app.next_code()))

    assert (wrong, right, again) == ("INVALID_ONE_TIME_CODE", "OK", "SECOND_FACTOR_NOT_ENROLLED")
    assert (await service.login()).session.acr == "aal1"
    assert await standing(service, caller) == pb.GetSecondFactorResponse()


async def test_new_recovery_codes(service_on_each: Service) -> None:
    """New recovery codes take the place of the old ones, on the word of a code."""
    service = service_on_each
    app = await enrol(service)
    caller = await own_with(app)
    request = pb.RegenerateRecoveryCodesRequest(one_time_code=app.recovery_codes[0])

    codes = (await service.auth.RegenerateRecoveryCodes(request, metadata=caller)).recovery_codes

    assert len(set(codes) - set(app.recovery_codes)) == 10
    assert (await standing(service, caller)).recovery_codes_left == 10
    assert await outcome(app.answer(await app.challenge(), app.recovery_codes[1])) == "INVALID_ONE_TIME_CODE"
    assert await outcome(app.answer(await app.challenge(), codes[0])) == "OK"


async def test_an_administrator_resets(service_on_each: Service) -> None:
    """Who has lost everything is let in by password again on an administrator's word; sessions go on."""
    service = service_on_each
    app = await enrol(service)
    login = await app.login()
    user_id = login.session.user_id

    first, second = await reset(service, user_id), await reset(service, user_id)

    assert (first.had_second_factor, second.had_second_factor) == (True, False)
    assert (await service.login()).session_token
    assert await outcome(service.validate(login.session_token)) == "OK"
    assert await outcome(reset(service, "00000000-0000-4000-8000-000000000000")) == "NOT_FOUND"


async def test_who_may_look(service: Service) -> None:
    """How a second factor stands is for the user and for administrators."""
    app = await enrol(service)
    alice, bob = await own_with(app), await own(service, "bob")
    user_id = service.user_ids["alice"]

    assert (await standing(service, alice)).recovery_codes_left == 10
    assert (await standing(service, service.by("root"), user_id=user_id)).recovery_codes_left == 10
    assert (await standing(service, bob)).recovery_codes_left == 0
    assert await outcome(standing(service, bob, user_id=user_id)) == "CALLER_NOT_PERMITTED"
    assert await outcome(standing(service, service.by("web"), user_id=user_id)) == "CALLER_NOT_PERMITTED"


async def test_everything_is_on_record(service_on_each: Service) -> None:
    """Each step of a second factor's life, each failure and each recovery code used has its audit event, with who, from
    where and what for, and without any code."""
    service = service_on_each
    app = await enrol(service)
    await outcome(app.answer(await app.challenge(), app.wrong_code()))
    login = await app.answer(await app.challenge(), app.recovery_codes[0])
    caller, user_id = bearer(login.session_token), login.session.user_id
    await service.auth.RegenerateRecoveryCodes(
        pb.RegenerateRecoveryCodesRequest(one_time_code=app.next_code()), metadata=caller
    )
    await service.auth.DisableTotp(pb.DisableTotpRequest(one_time_code=app.next_code()), metadata=caller)
    await enrol(service)
    await reset(service, user_id)

    found = await events(service, user_id)

    assert [(each.event, each.reason, each.actor) for each in found] == [
        ("second_factor.enrolled", "", user_id),
        ("second_factor.confirmed", "", user_id),
        ("second_factor.failed", "login", "web"),
        ("recovery_code.used", "login", "web"),
        ("recovery_codes.replaced", "", user_id),
        ("second_factor.disabled", "", user_id),
        ("second_factor.enrolled", "", user_id),
        ("second_factor.confirmed", "", user_id),
        ("second_factor.reset", "", "root"),
    ]
    assert all(each.device.ip_address for each in found)
    assert {each.session_id for each in found if each.actor == user_id} >= {login.session.id}


async def test_throttling_is_on_record_once(service: Service) -> None:
    """Refused guesses are on record, and do not flood it: one event a minute. (Guard: the ration in OneTimeCodes.)"""
    app = await enrol(service)
    challenge = await app.challenge()
    for _ in range(20):
        await outcome(app.answer(challenge, app.wrong_code()))

    found = [each.event for each in await events(service, service.user_ids["alice"])]

    assert found.count("second_factor.failed") == 5
    assert found.count("second_factor.throttled") == 1


async def test_nothing_usable_is_stored(service_on_each: Service, valkey: EmbeddedValkey) -> None:
    """Neither database nor cache holds a TOTP secret, a recovery code, or a plain hash of one."""
    app = await enrol(service_on_each)
    await app.login()

    stored = await dump_of_database(service_on_each) + await dump_of_cache(valkey)

    secret = pyotp.TOTP(app.secret).byte_secret()
    assert secret not in stored
    assert app.secret.encode() not in stored
    for code in app.recovery_codes:
        assert code.encode() not in stored
        assert code.replace("-", "").encode() not in stored


@pytest.mark.parametrize(
    "message",
    [
        pb.LoginRequest(challenge_token="canary", one_time_code="canary"),
        pb.Challenge(challenge_token="canary"),
        pb.StepUpRequest(token="canary", password="canary", one_time_code="canary"),
        pb.StepUpResponse(session_token="canary", access_token="canary"),
        pb.EnrollTotpRequest(password="canary", one_time_code="canary"),
        pb.EnrollTotpResponse(secret="canary", uri="canary"),
        pb.ConfirmTotpRequest(one_time_code="canary"),
        pb.ConfirmTotpResponse(recovery_codes=["canary"]),
        pb.DisableTotpRequest(one_time_code="canary"),
        pb.RegenerateRecoveryCodesRequest(one_time_code="canary"),
        pb.RegenerateRecoveryCodesResponse(recovery_codes=["canary"]),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_secrets_are_marked(message: Message) -> None:
    """Every field that holds a secret says so in the contract (`debug_redact`)."""
    assert all(field.GetOptions().debug_redact for field, _ in message.ListFields())
