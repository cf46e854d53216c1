"""Instances whose clocks disagree: by some seconds nobody notices."""

from collections.abc import AsyncIterator

import pytest

from authsvc.core.clock import SECOND
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from tests.parts.service import PASSWORD, MovableClock, Service, outcome, run_service

SKEW_MS = 10 * SECOND


@pytest.fixture(params=[SKEW_MS, -SKEW_MS], ids=["ahead", "behind"])
async def pair(
    request: pytest.FixtureRequest, postgres_url: str, valkey: EmbeddedValkey
) -> AsyncIterator[tuple[Service, Service]]:
    """An instance whose clock is right, and one whose clock is ten seconds ahead or behind."""
    wrong = MovableClock()
    wrong.move(request.param)
    async with (
        run_service(postgres_url, valkey.url) as right,
        run_service(postgres_url, valkey.url, wrong) as skewed,
    ):
        skewed.user_ids = right.user_ids
        yield right, skewed


async def test_sessions(pair: tuple[Service, Service]) -> None:
    """What one instance issues the other accepts at once, whichever way their clocks differ: session, access and
    refresh token; and what one revokes the other refuses."""
    right, skewed = pair
    await right.add_user()
    for here, there in (pair, (skewed, right)):
        login = await here.login()

        assert await outcome(there.validate(login.session_token)) == "OK"
        assert (await there.introspect(login.tokens.access_token)).active
        renewed = await there.refresh(login.tokens.refresh_token)
        assert (await here.introspect(renewed.tokens.access_token)).active

        revision = (await here.revoke(token=login.session_token)).revision
        refused = await outcome(there.validate(login.session_token, min_revision=revision))
        assert refused == "SESSION_NOT_ACTIVE"
        assert not (await there.introspect(renewed.tokens.access_token)).active


async def test_lost_replies(pair: tuple[Service, Service]) -> None:
    """A reply that was lost at one instance is given again by the other, within the window that both have."""
    right, skewed = pair
    await right.add_user()
    for here, there in (pair, (skewed, right)):
        login = await here.login()
        first = await here.refresh(login.tokens.refresh_token)

        again = await there.refresh(login.tokens.refresh_token)

        assert again.replayed
        assert again.tokens.refresh_token == first.tokens.refresh_token


async def test_password_change(pair: tuple[Service, Service]) -> None:
    """A password changed by either instance ends what the other began, and lets log in with the new one at both."""
    right, skewed = pair
    user_id = await right.add_user()
    for here, there in (pair, (skewed, right)):
        login = await here.login()
        request = admin.SetPasswordRequest(user_id=user_id, password=PASSWORD)
        revoked = await there.admin.SetPassword(request, metadata=there.by("root"))

        refused = await outcome(here.validate(login.session_token, min_revision=revoked.revision))
        assert refused == "SESSION_NOT_ACTIVE"
        assert await outcome(here.login()) == "OK"
