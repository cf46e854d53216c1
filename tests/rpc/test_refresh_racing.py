"""Refreshes that race each other, and that race a revocation, through a real channel on each database.

Of 48 at once one rotates and three more are benign replays; by the letter of the rule the rest are reuse, which ends
the session. So an honest client sends one at a time, and a thief who floods gains nothing.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import grpc.aio
import pytest

from authsvc.core.refresh import REPLAY_LIMIT
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, bearer, outcome, reason_of
from tests.parts.sql import audited

RACERS = 48
ROUNDS = int(os.environ.get("TEST_RACE_ROUNDS", "5"))
_REFUSED = {"REFRESH_TOKEN_REUSED", "REFRESH_TOKEN_NOT_ACTIVE"}


@pytest.fixture
async def service(service_on_each: Service) -> Service:
    """An instance on each database, with all its connections open, so that racers start together."""
    await asyncio.gather(*(service_on_each.app.stores.ping() for _ in range(RACERS)))
    return service_on_each


async def race(service: Service, token: str, racers: int) -> tuple[list[Any], list[str]]:
    """Present one token many times at once; return the answers and the reasons of the refusals."""
    calls = (service.refresh(token) for _ in range(racers))
    results = await asyncio.gather(*calls, return_exceptions=True)
    answers = [result for result in results if not isinstance(result, BaseException)]
    refused = [reason_of(result) for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(answers) + len(refused) == racers
    return answers, refused


async def test_one_rotation(service: Service) -> None:
    """Of 48 refreshes with one token exactly one rotates, and nobody ever sees a second successor."""
    for _ in range(ROUNDS):
        login = await service.login()

        answers, refused = await race(service, login.tokens.refresh_token, RACERS)

        assert [answer.replayed for answer in answers].count(False) <= 1
        assert len({answer.tokens.refresh_token for answer in answers}) <= 1
        assert len(answers) <= 1 + REPLAY_LIMIT
        assert set(refused) <= _REFUSED
        found = await service.app.stores.sessions.get_refresh(login.session.id)
        assert found is not None
        assert found[1].generation == 1
    assert (await audited(service.app.stores)).count("token.rotated") == ROUNDS


async def test_flood_ends_the_session(service: Service) -> None:
    """After such a flood the session has ended, for the winner too: there is no live orphan."""
    login = await service.login()

    answers, refused = await race(service, login.tokens.refresh_token, RACERS)

    assert refused.count("REFRESH_TOKEN_REUSED") >= 1
    assert await alive(service, login, answers) == []
    assert (await audited(service.app.stores)).count("token.reused") == 1


async def test_a_few_tabs_at_once(service: Service) -> None:
    """Four refreshes at once, a browser with four tabs, all get the one successor, and the session goes on."""
    token = (await service.login()).tokens.refresh_token
    for _ in range(ROUNDS):
        answers, refused = await race(service, token, 1 + REPLAY_LIMIT)

        assert refused == []
        assert sorted(answer.replayed for answer in answers) == [False, True, True, True]
        successors = {answer.tokens.refresh_token for answer in answers}
        assert len(successors) == 1
        token = successors.pop()


async def test_refresh_against_revoke(service: Service) -> None:
    """Whichever comes first, after a revocation no token of the session is good, however it was come by."""
    for round_number in range(ROUNDS * 4):
        login = await service.login()
        racing: list[Any] = [
            race(service, login.tokens.refresh_token, 2),
            service.revoke(token=login.session_token),
        ]
        if round_number % 2:
            racing.reverse()

        results = await asyncio.gather(*racing)

        answers = next(result for result in results if isinstance(result, tuple))[0]
        assert await alive(service, login, answers) == []


async def test_refreshes_against_revoking_all(service: Service) -> None:
    """Revoking a user's sessions while that user refreshes them leaves none of them alive."""
    logins = [await service.login() for _ in range(6)]
    user_id = service.user_ids["alice"]

    results = await asyncio.gather(
        *(race(service, login.tokens.refresh_token, 1) for login in logins[:3]),
        service.revoke("root", user_id=user_id),
        *(race(service, login.tokens.refresh_token, 1) for login in logins[3:]),
    )

    raced = [result[0] for result in results if isinstance(result, tuple)]
    for login, answers in zip(logins, raced, strict=True):
        assert await alive(service, login, answers) == []


async def alive(service: Service, login: Any, answers: Sequence[Any]) -> list[str]:
    """Which of the tokens that a session ever gave out are still good for anything."""
    pairs = [login.tokens, *(answer.tokens for answer in answers)]
    found = ["session token"] if await outcome(service.validate(login.session_token)) == "OK" else []
    for pair in pairs:
        if (await service.introspect(pair.access_token)).active:
            found.append("access token, introspected")
        if (
            await outcome(
                service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(pair.access_token))
            )
            == "OK"
        ):
            found.append("access token, as caller")
        if (await service.introspect(pair.refresh_token)).active:
            found.append("refresh token, introspected")
        if await outcome(service.refresh(pair.refresh_token)) not in _REFUSED:
            found.append("refresh token")
    return found
