"""Every row of the table in `authsvc.core.refresh`, through a real channel, on each database. Time stands still."""

from typing import Any

import grpc
import pytest

from authsvc.core.clock import DAY, SECOND
from authsvc.core.tokens import Minted, TokenMint
from tests.parts.service import Service, fields_of, outcome, reason_of, refusal, run_service


@pytest.fixture
def service(service_on_each: Service) -> Service:
    """An instance on each database, whose clock only the test moves."""
    service_on_each.clock.stop()
    return service_on_each


def forged(service: Service, session_id: str, generation: int) -> Minted:
    """A refresh token with a valid MAC that was never issued."""
    return TokenMint(service.app.settings.secrets, lambda size: b"?" * size).refresh_token(
        session_id, generation
    )


async def generation_of(service: Service, session_id: str) -> int:
    """The generation that the session's row is at."""
    found = await service.app.stores.sessions.get_refresh(session_id)
    assert found is not None
    return found[1].generation


async def is_live(service: Service, login: Any) -> bool:
    """Whether the login's session token is still good."""
    return await outcome(service.validate(login.session_token)) == "OK"


async def test_rotates(service: Service) -> None:
    """The newest token gets a new pair, and the session goes on."""
    login = await service.login()

    refreshed = await service.refresh(login.tokens.refresh_token)

    assert refreshed.tokens.refresh_token not in ("", login.tokens.refresh_token)
    assert refreshed.tokens.access_token not in ("", login.tokens.access_token)
    assert not refreshed.replayed
    assert refreshed.session.id == login.session.id
    assert await generation_of(service, login.session.id) == 1


async def test_replay_gets_the_same_successor(service: Service) -> None:
    """A lost reply does no harm: the same token again gets the very same successor, and a fresh access token."""
    login = await service.login()
    first = await service.refresh(login.tokens.refresh_token)

    again = await service.refresh(login.tokens.refresh_token)

    assert again.replayed
    assert again.tokens.refresh_token == first.tokens.refresh_token
    assert again.tokens.access_token != first.tokens.access_token
    assert await generation_of(service, login.session.id) == 1
    assert await outcome(service.refresh(again.tokens.refresh_token)) == "OK"


async def test_replay_survives_a_restart(database_url: str) -> None:
    """Another instance, which knows only what is in SQL, gives the same successor too."""
    async with run_service(database_url, "none") as one:
        login = await one.login()
        first = await one.refresh(login.tokens.refresh_token)

    async with run_service(database_url, "none") as other:
        again = await other.refresh(login.tokens.refresh_token)

    assert (again.tokens.refresh_token, again.replayed) == (first.tokens.refresh_token, True)


@pytest.mark.parametrize(
    ("late_ms", "expected"), [(29 * SECOND, "OK"), (31 * SECOND, "REFRESH_TOKEN_REUSED")]
)
async def test_replay_window(service: Service, late_ms: int, expected: str) -> None:
    """A replay is benign for 30 seconds after the rotation, and theft from then on."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)
    service.clock.move(late_ms)

    found = await outcome(service.refresh(login.tokens.refresh_token))

    assert found == expected
    assert await is_live(service, login) == (expected == "OK")


async def test_replay_limit(service: Service) -> None:
    """Three replays are benign; the fourth ends the session."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)

    found = [await outcome(service.refresh(login.tokens.refresh_token)) for _ in range(4)]

    assert found == ["OK", "OK", "OK", "REFRESH_TOKEN_REUSED"]
    assert not await is_live(service, login)


async def test_replays_start_anew_with_each_rotation(service: Service) -> None:
    """Each generation has its own three replays."""
    token = (await service.login()).tokens.refresh_token

    for _ in range(3):
        successor = (await service.refresh(token)).tokens.refresh_token
        replays = [await service.refresh(token) for _ in range(3)]
        assert {replay.tokens.refresh_token for replay in replays} == {successor}
        token = successor


async def test_used_successor_closes_the_window(service: Service) -> None:
    """Once its successor was used, a token presented again is theft, however soon."""
    login = await service.login()
    successor = await service.refresh(login.tokens.refresh_token)
    newest = await service.refresh(successor.tokens.refresh_token)

    error = await refusal(service.refresh(login.tokens.refresh_token))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
    assert await outcome(service.refresh(newest.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert not await is_live(service, login)
    assert not (await service.introspect(newest.tokens.access_token)).active


async def test_theft_is_found_for_ever(service: Service) -> None:
    """A token of any generation long gone still gives the theft away."""
    login = await service.login()
    token = login.tokens.refresh_token
    for _ in range(5):
        token = (await service.refresh(token)).tokens.refresh_token
        service.clock.move(10 * DAY)

    found = await outcome(service.refresh(login.tokens.refresh_token))

    assert found == "REFRESH_TOKEN_REUSED"
    assert await outcome(service.refresh(token)) == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_reuse_is_told_once(service: Service) -> None:
    """After the session has ended, all its tokens are alike: not active."""
    login = await service.login()
    successor = await service.refresh(login.tokens.refresh_token)
    await service.refresh(successor.tokens.refresh_token)
    await outcome(service.refresh(login.tokens.refresh_token))

    found = await outcome(service.refresh(login.tokens.refresh_token))

    assert found == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_reuse_is_on_record(service: Service) -> None:
    """A session that theft has ended says so in the user's list and in the log of revocations."""
    login = await service.login()
    successor = await service.refresh(login.tokens.refresh_token)
    await service.refresh(successor.tokens.refresh_token)

    await outcome(service.refresh(login.tokens.refresh_token))

    stored = await service.app.stores.sessions.get(login.session.id)
    logged = await service.app.stores.log.list_since(0, 10)
    assert stored is not None
    assert stored.revoke_reason is not None
    assert stored.revoke_reason.value == "refresh_token_reused"
    assert [entry.subject_id for entry in logged] == [login.session.id]


@pytest.mark.parametrize("generation", [0, 1, 2, 2**40 - 2])
async def test_forged_secret(service: Service, generation: int) -> None:
    """A token with a valid MAC and another secret is not active, tells nothing, and ends nothing.

    Whoever can make one holds the deployment's secret; still it does not pass.
    """
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)

    found = await outcome(service.refresh(forged(service, login.session.id, generation).text))

    assert found == "REFRESH_TOKEN_NOT_ACTIVE"
    assert await is_live(service, login)


async def test_unknown_session(service: Service) -> None:
    """A token of a session that does not exist is not active, in the same bytes as one of an ended session."""
    login = await service.login()
    await service.revoke(token=login.session_token)

    unknown = await refusal(service.refresh(forged(service, "00000000-0000-4000-8000-000000000000", 0).text))
    ended = await refusal(service.refresh(login.tokens.refresh_token))

    assert unknown.code() is ended.code() is grpc.StatusCode.UNAUTHENTICATED
    assert unknown.details() == ended.details()
    assert unknown.trailing_metadata() == ended.trailing_metadata()


async def test_session_without_tokens(service: Service) -> None:
    """A login that asked for a session token alone has nothing to refresh."""
    login = await service.login(credentials=[1])

    found = await outcome(service.refresh(forged(service, login.session.id, 0).text))

    assert not login.HasField("tokens")
    assert found == "REFRESH_TOKEN_NOT_ACTIVE"


@pytest.mark.parametrize("rotations", [0, 1, 2])
async def test_other_client(service: Service, rotations: int) -> None:
    """Another client is refused whatever the token's age, and the session lives on."""
    login = await service.login()
    token = login.tokens.refresh_token
    for _ in range(rotations):
        token = (await service.refresh(token)).tokens.refresh_token

    error = await refusal(service.refresh(login.tokens.refresh_token, "app"))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_PERMITTED")
    assert await outcome(service.refresh(token)) == "OK"


@pytest.mark.parametrize("field", ["scopes", "audiences"])
async def test_widening(service: Service, field: str) -> None:
    """To ask for more than the login granted is refused naming the field, and the token is not burnt."""
    login = await service.login(scopes=["orders.read"], audiences=["orders"])
    wider: dict[str, Any] = {"scopes": ["orders.read", "orders.write"], "audiences": ["orders", "billing"]}

    error = await refusal(service.refresh(login.tokens.refresh_token, **{field: wider[field]}))

    assert (reason_of(error), fields_of(error)) == ("INVALID_REQUEST", [field])
    assert await generation_of(service, login.session.id) == 0
    assert not (await service.refresh(login.tokens.refresh_token)).replayed


async def test_narrowing_is_for_one_access_token(service: Service) -> None:
    """Asking for less narrows this access token, not the session."""
    login = await service.login()

    narrow = await service.refresh(login.tokens.refresh_token, scopes=["orders.read"], audiences=["billing"])
    whole = await service.refresh(narrow.tokens.refresh_token)

    assert (narrow.tokens.scopes, narrow.tokens.audiences) == (["orders.read"], ["billing"])
    assert (whole.tokens.scopes, whole.tokens.audiences) == (login.tokens.scopes, login.tokens.audiences)


@pytest.mark.parametrize(("late_ms", "expected"), [(-SECOND, "OK"), (SECOND, "REFRESH_TOKEN_NOT_ACTIVE")])
async def test_idle_deadline(service: Service, late_ms: int, expected: str) -> None:
    """A refresh token that is not used for its idle time is not active any more."""
    login = await service.login()
    service.clock.move(service.app.settings.refresh_idle + late_ms)

    assert await outcome(service.refresh(login.tokens.refresh_token)) == expected


async def test_idle_deadline_of_a_replay(service: Service) -> None:
    """A replay does not move the idle deadline that the rotation has set."""
    login = await service.login()
    first = await service.refresh(login.tokens.refresh_token)
    service.clock.move(20 * SECOND)

    again = await service.refresh(login.tokens.refresh_token)

    assert again.tokens.refresh_expire_time == first.tokens.refresh_expire_time


@pytest.mark.parametrize(("late_ms", "expected"), [(-SECOND, "OK"), (SECOND, "REFRESH_TOKEN_NOT_ACTIVE")])
async def test_absolute_deadline(service: Service, late_ms: int, expected: str) -> None:
    """However often it rotates, a session's refresh token ends at the deadline that the login has set."""
    login = await service.login()
    token = login.tokens.refresh_token
    for _ in range(3):
        service.clock.move(22 * DAY)
        refreshed = await service.refresh(token)
        token = refreshed.tokens.refresh_token
        assert refreshed.session.refresh_expire_time == login.session.refresh_expire_time
    service.clock.move(service.app.settings.refresh_absolute - 66 * DAY + late_ms)

    assert await outcome(service.refresh(token)) == expected


async def test_idle_never_passes_absolute(service: Service) -> None:
    """Near its end, the deadline of a pair is the session's, not an idle time later."""
    login = await service.login()
    pair = login.tokens
    for _ in range(3):
        service.clock.move(29 * DAY)
        pair = (await service.refresh(pair.refresh_token)).tokens

    assert pair.refresh_expire_time == login.session.refresh_expire_time


async def test_no_second_chance_after_expiry(service: Service) -> None:
    """An old token of a session past its deadline is not active: there is nothing left to end."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)
    service.clock.move(service.app.settings.refresh_absolute + SECOND)

    assert await outcome(service.refresh(login.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
