"""Users with a second factor, and what a program does about them."""

import asyncio
import pickle

import grpc
import pytest

from authsvc_client import (
    AuthClient,
    Challenge,
    PasswordLogin,
    SecondStepNeeded,
    SessionEnded,
    SyncAuthClient,
    reason_of,
)
from tests.client.signing_in.between import Between
from tests.parts.authenticator import enrol
from tests.parts.service import ISSUER, PASSWORD, Service


async def test_a_login_in_two_steps(service: Service) -> None:
    """A login of a user with a second factor raises what holds the challenge, and the answer to that signs in, verified
    and for what was asked for."""
    app = await enrol(service)
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        with pytest.raises(SecondStepNeeded) as needed:
            await auth.login("alice", PASSWORD, audiences=["orders"], device_token="of this device")
        challenge = needed.value.challenge
        with pytest.raises(grpc.RpcError) as wrong:
            await auth.answer(challenge, app.wrong_code())
        signed_in = await auth.answer(challenge, app.next_code())

    assert challenge.methods == ("otp", "recovery_code")
    assert challenge.expires_at > service.clock()
    assert challenge.device_token == "of this device"
    assert signed_in.device_token.startswith("atd_")
    assert reason_of(wrong.value) == "INVALID_ONE_TIME_CODE"
    assert signed_in.tokens is not None
    assert signed_in.tokens.access.audiences == ("orders",)
    assert (signed_in.tokens.access.acr, signed_in.tokens.access.amr) == ("aal2", ("pwd", "otp", "mfa"))


async def test_in_threads(service: Service) -> None:
    """The same for threads."""
    app = await enrol(service)

    def use() -> str:
        with SyncAuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
            with pytest.raises(SecondStepNeeded) as needed:
                auth.login("alice", PASSWORD)
            return auth.answer(needed.value.challenge, app.recovery_codes[0]).session.acr

    assert await asyncio.to_thread(use) == "aal2"


async def test_a_password_alone_is_final(service: Service, between: Between) -> None:
    """A source that has but a password says so for good, instead of asking again and again."""
    await enrol(service)
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        reasons = []
        for _ in range(3):
            with pytest.raises(SessionEnded) as ended:
                await source.obtain()
            reasons.append(ended.value.reason)

    assert reasons == ["SECOND_STEP_NEEDED"] * 3
    assert between.counts["Login"] == 1


def test_the_challenge_is_carried_and_not_shown() -> None:
    """The exception survives pickling with its challenge, whose token no text of it shows."""
    needed = SecondStepNeeded(Challenge("ath_canary", ("otp",), 1, ("orders",)))

    again = pickle.loads(pickle.dumps(needed))

    assert again.challenge == needed.challenge == needed.again().challenge
    assert "canary" not in f"{needed!r} {needed} {needed.challenge!r}"
