"""Tokens are renewed once for everybody, ahead of their end where possible, and never at the price of a logout."""

import asyncio
import threading
from collections.abc import Callable

import grpc
import grpc.aio
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import (
    AuthClient,
    MemoryStore,
    PasswordLogin,
    RefreshTokenSource,
    SessionEnded,
    SignInFailed,
    SyncAuthClient,
    SyncPasswordLogin,
    SyncRefreshTokenSource,
    open_channel,
    open_sync_channel,
)
from tests.client.signing_in.between import Between
from tests.client.signing_in.called import Called, method
from tests.parts.service import ISSUER, PASSWORD, Service

MINUTE = 60_000
Auth = Callable[..., AuthClient]
SyncAuth = Callable[..., SyncAuthClient]


@pytest.fixture
def auth(service: Service, between: Between) -> Auth:
    """Makes clients that go through the go-between, by the service's clock."""

    def make(client_id: str = "web") -> AuthClient:
        return AuthClient(
            between.address, issuer=ISSUER, client_key=service.keys[client_id], clock=service.clock
        )

    return make


@pytest.fixture
def sync_auth(service: Service, between: Between) -> SyncAuth:
    """The same for threads."""

    def make(client_id: str = "web") -> SyncAuthClient:
        return SyncAuthClient(
            between.address, issuer=ISSUER, client_key=service.keys[client_id], clock=service.clock
        )

    return make


async def test_200_tasks_share_one_refresh(
    service: Service, between: Between, auth: Auth, called: Called
) -> None:
    """200 concurrent calls with an expired token cause exactly one Refresh, and all carry its outcome."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        await source.obtain()
        service.clock.move(6 * MINUTE)
        before = between.counts["Refresh"]
        async with open_channel(called.target, source) as channel:
            ask = method(channel)

            await asyncio.gather(*(ask(b"ask") for _ in range(200)))

    assert between.counts["Refresh"] - before == 1
    assert len(called.bearers) == 200
    assert len(set(called.bearers)) == 1


async def test_200_threads_share_one_refresh(
    service: Service, between: Between, sync_auth: SyncAuth, called: Called
) -> None:
    """The same for threads."""
    login = await service.login()
    source = SyncRefreshTokenSource(sync_auth(), login.tokens.refresh_token)
    await asyncio.to_thread(source.obtain)
    service.clock.move(6 * MINUTE)
    before = between.counts["Refresh"]
    barrier = threading.Barrier(200)

    def call_once(channel: grpc.Channel) -> None:
        barrier.wait()
        method(channel)(b"ask", timeout=30)

    def use() -> None:
        with open_sync_channel(called.target, source) as channel:
            threads = [threading.Thread(target=call_once, args=(channel,)) for _ in range(200)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    await asyncio.to_thread(use)

    assert between.counts["Refresh"] - before == 1
    assert len(called.bearers) == 200
    assert len(set(called.bearers)) == 1


async def test_200_refused_calls_share_one_refresh(
    service: Service, between: Between, auth: Auth, called: Called
) -> None:
    """A token that services call expired before its time is renewed once, and every refused call is made once more."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        old = await source.obtain()
        before = between.counts["Refresh"]
        called.refuses = lambda bearer: "ACCESS_TOKEN_EXPIRED" if bearer == old else ""
        async with open_channel(called.target, source) as channel:
            ask = method(channel)

            await asyncio.gather(*(ask(b"ask") for _ in range(200)))

    assert between.counts["Refresh"] - before == 1
    assert len(called.bearers) <= 400


async def test_a_token_is_renewed_ahead_of_its_end_while_calls_go_on(
    service: Service, between: Between, auth: Auth
) -> None:
    """At 90 % of its life a token is still handed out at once, and its successor is fetched behind the call."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        old = await source.obtain()
        service.clock.move(int(4.4 * MINUTE))

        handed_out = source.ready()
        renewed = await _until(lambda: source.ready() not in (None, old))

    assert handed_out == old
    assert renewed
    assert between.counts["Refresh"] == 2


async def test_a_token_is_not_renewed_before_most_of_its_life_has_passed(
    service: Service, between: Between, auth: Auth
) -> None:
    """At 70 % of its life a token is simply used."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        old = await source.obtain()
        service.clock.move(int(0.7 * 4.75 * MINUTE))

        assert await source.obtain() == old
        assert source.ready() == old

    assert between.counts["Refresh"] == 1


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_reply_gives_the_same_successor(
    service: Service, between: Between, auth: Auth, lost: int
) -> None:
    """A connection cut after the server committed a Refresh is made up for: same session, no logout."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        between.losing["Refresh"] = lost

        await source.obtain()

        assert between.counts["Refresh"] == lost + 1
        service.clock.move(6 * MINUTE)
        await source.obtain()
    assert between.counts["Refresh"] == lost + 2


async def test_a_lost_reply_gives_the_same_successor_to_threads(
    service: Service, between: Between, sync_auth: SyncAuth
) -> None:
    """The same for threads."""
    login = await service.login()
    with sync_auth() as client:
        source = SyncRefreshTokenSource(client, login.tokens.refresh_token)
        between.losing["Refresh"] = 1

        await asyncio.to_thread(source.obtain)

        assert between.counts["Refresh"] == 2
        service.clock.move(6 * MINUTE)
        await asyncio.to_thread(source.obtain)
    assert between.counts["Refresh"] == 3


async def test_a_caller_that_gives_up_does_not_stop_the_renewal(
    service: Service, between: Between, auth: Auth
) -> None:
    """The renewal is everybody's: one waiting task that is cancelled leaves it to the others."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        impatient = asyncio.create_task(source.obtain())
        patient = asyncio.create_task(source.obtain())
        await asyncio.sleep(0)

        impatient.cancel()

        assert await patient == source.ready()
    assert between.counts["Refresh"] == 1


async def test_a_call_waits_no_longer_than_its_deadline(
    service: Service, between: Between, auth: Auth, called: Called
) -> None:
    """Waiting for a token counts against the call's deadline."""
    login = await service.login()
    between.is_down = True
    async with (
        auth() as client,
        open_channel(called.target, RefreshTokenSource(client, login.tokens.refresh_token)) as channel,
    ):
        begun_at = asyncio.get_running_loop().time()

        with pytest.raises(SignInFailed) as failed:
            await method(channel)(b"ask", timeout=0.3)

        assert asyncio.get_running_loop().time() - begun_at < 2
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert called.seen == []


async def test_two_tabs_do_not_log_each_other_out(service: Service, between: Between, auth: Auth) -> None:
    """Two sources with stores of their own that begin with the same refresh token at once get the same successor."""
    login = await service.login()
    async with auth() as client, auth() as other:
        one = RefreshTokenSource(client, login.tokens.refresh_token, store=MemoryStore())
        two = RefreshTokenSource(other, login.tokens.refresh_token, store=MemoryStore())

        await asyncio.gather(one.obtain(), two.obtain())
        await asyncio.gather(one.obtain(), two.obtain())

    assert between.counts["Refresh"] == 2
    assert (await _revoke_reason(service, login.session.id)) == 0


async def test_sources_of_one_process_share_a_refresh_tokens_successors(
    service: Service, between: Between, auth: Auth, sync_auth: SyncAuth
) -> None:
    """A source that is given a refresh token used up long ago by another source goes on with the newest."""
    login = await service.login()
    async with auth() as client:
        first = RefreshTokenSource(client, login.tokens.refresh_token)
        await first.obtain()
        service.clock.move(6 * MINUTE)
        await first.obtain()
        service.clock.move(MINUTE)

        with sync_auth() as other:
            second = SyncRefreshTokenSource(other, login.tokens.refresh_token)
            shared = await asyncio.to_thread(second.obtain)
            service.clock.move(6 * MINUTE)
            renewed = await asyncio.to_thread(second.obtain)
        followed = await first.obtain()

    assert shared != renewed
    assert followed == renewed
    assert between.counts["Refresh"] == 3


async def test_a_dead_session_is_one_named_exception_and_asks_nobody_again(
    service: Service, between: Between, auth: Auth, called: Called
) -> None:
    """After the session's end every call raises SessionEnded, in every shape, without a call to anybody."""
    login = await service.login()
    async with (
        auth() as client,
        open_channel(called.target, RefreshTokenSource(client, login.tokens.refresh_token)) as channel,
    ):
        await method(channel)(b"ask")
        await client.logout(login.tokens.refresh_token)
        service.clock.move(6 * MINUTE)

        for _ in range(3):
            with pytest.raises(SessionEnded, match="REFRESH_TOKEN_NOT_ACTIVE"):
                await method(channel)(b"ask")
            with pytest.raises(SessionEnded):
                async for _ in method(channel, "UnaryStream")(b"ask"):
                    pass
            with pytest.raises(SessionEnded):
                await method(channel, "StreamUnary")(iter([b"ask"]))
            with pytest.raises(SessionEnded):
                async for _ in method(channel, "StreamStream")(iter([b"ask"])):
                    pass

    assert between.counts["Refresh"] == 2
    assert len(called.seen) == 1


async def test_a_dead_session_is_one_named_exception_in_threads(
    service: Service, between: Between, sync_auth: SyncAuth, called: Called
) -> None:
    """The same for threads."""
    login = await service.login()
    client = sync_auth()
    await asyncio.to_thread(client.logout, login.tokens.refresh_token)

    def use() -> None:
        source = SyncRefreshTokenSource(client, login.tokens.refresh_token)
        with open_sync_channel(called.target, source) as channel:
            for _ in range(3):
                with pytest.raises(SessionEnded):
                    method(channel)(b"ask")
                with pytest.raises(SessionEnded):
                    next(method(channel, "UnaryStream")(b"ask"))
                with pytest.raises(SessionEnded):
                    method(channel, "StreamUnary")(iter([b"ask"]))
                with pytest.raises(SessionEnded):
                    next(method(channel, "StreamStream")(iter([b"ask"])))

    await asyncio.to_thread(use)
    client.close()

    assert between.counts["Refresh"] == 1
    assert called.seen == []


async def test_a_revoked_token_leads_to_the_named_exception(
    service: Service, between: Between, auth: Auth, called: Called
) -> None:
    """A service that says that the token is revoked makes the source find out that the session has ended."""
    login = await service.login()
    called.refuses = lambda bearer: "ACCESS_TOKEN_REVOKED"
    async with (
        auth() as client,
        open_channel(called.target, RefreshTokenSource(client, login.tokens.refresh_token)) as channel,
    ):
        await client.logout(login.tokens.refresh_token)

        with pytest.raises(SessionEnded):
            await method(channel)(b"ask")


async def test_a_password_login_begins_a_new_session_when_one_has_ended(
    service: Service, between: Between, auth: Auth
) -> None:
    """Whoever has the password needs nobody to log in again."""
    await service.add_user()
    async with auth() as client:
        source = PasswordLogin(client, "alice", PASSWORD)
        first = await client.connection.run(client.conversations.received.verify(await source.obtain(), ()))
        await client.logout(await source.obtain())
        service.clock.move(6 * MINUTE)

        second = await client.connection.run(client.conversations.received.verify(await source.obtain(), ()))

    assert first.session_id != second.session_id
    assert between.counts["Login"] == 2


async def test_a_wrong_password_is_tried_once(
    service: Service, between: Between, sync_auth: SyncAuth
) -> None:
    """Refused credentials are final: a source does not spend the account's attempts."""
    await service.add_user()
    with sync_auth() as client:
        source = SyncPasswordLogin(client, "alice", "not the pass phrase")

        for _ in range(3):
            with pytest.raises(SessionEnded, match="INVALID_CREDENTIALS"):
                await asyncio.to_thread(source.obtain)

    assert between.counts["Login"] == 1


async def test_a_failing_server_is_left_alone_for_a_while(
    service: Service, between: Between, auth: Auth
) -> None:
    """While authsvc refuses the client, calls fail with what it said, and it is asked once a second at most."""
    login = await service.login()
    async with auth("gateway") as client:  # may not refresh
        source = RefreshTokenSource(client, login.tokens.refresh_token)

        for _ in range(50):
            with pytest.raises(SignInFailed, match="PERMISSION_DENIED CALLER_NOT_PERMITTED"):
                await source.obtain()

    assert between.counts["Refresh"] == 1


async def test_an_outage_is_waited_out(service: Service, between: Between, auth: Auth) -> None:
    """A session survives an authsvc that cannot be reached for a while."""
    login = await service.login()
    async with auth() as client:
        source = RefreshTokenSource(client, login.tokens.refresh_token)
        await source.obtain()
        service.clock.move(6 * MINUTE)
        between.is_down = True
        between.cut()
        obtaining = asyncio.create_task(source.obtain())
        await asyncio.sleep(0.3)
        between.is_down = False

        await obtaining

    assert between.counts["Refresh"] == 2


async def test_a_source_outlives_the_loop(service: Service) -> None:
    """One source serves one loop after another: its channel is opened anew."""
    login = await service.login()
    client = AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"], clock=service.clock)
    source = RefreshTokenSource(client, login.tokens.refresh_token)

    async def obtain() -> str:
        try:
            return await source.obtain()
        finally:
            await client.close()

    first = await asyncio.to_thread(asyncio.run, obtain())
    service.clock.move(6 * MINUTE)
    second = await asyncio.to_thread(asyncio.run, obtain())

    assert first != second


async def _revoke_reason(service: Service, session_id: str) -> int:
    request = pb.ListSessionsRequest(user_id=service.user_ids["alice"], include_ended=True)
    response = await service.auth.ListSessions(request, metadata=service.by("root"))
    return next(each.revoke_reason for each in response.sessions if each.id == session_id)


async def _until(condition: Callable[[], bool]) -> bool:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.005)
    return True
