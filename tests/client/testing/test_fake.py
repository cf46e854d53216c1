"""What the authsvc for tests gives beyond the contract, and that the rest of the package is at home with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client import (
    AuthClient,
    PasswordLogin,
    Policy,
    RemoteChecks,
    SyncAuthClient,
    Verifier,
    Watcher,
    WatcherThread,
    authenticated,
    reason_of,
    server_interceptor,
)
from authsvc_client.strict import TokenRevoked
from authsvc_client.testing import PASSWORD, FakeAuthService, Lifetimes, MovableClock, bearer

ORDERS = "orders.v1.Orders"


async def test_a_watcher_follows_it(authsvc_server: FakeAuthService) -> None:
    """A verifier that a watcher keeps fresh takes its tokens, refuses revoked ones, and survives a restart."""
    verifier = Verifier(authsvc_server.issuer, "orders", clock=authsvc_server.clock)
    logins = [authsvc_server.log_in("alice") for _ in range(2)]
    async with Watcher(authsvc_server.address, authsvc_server.client_key, verifier) as watcher:
        await watcher.ready()
        for each in logins:
            verifier.verify(each.tokens.access_token)

        await watcher.wait_for_revision(authsvc_server.revoke_session(logins[0].session.id))
        authsvc_server.stop()
        revision = authsvc_server.revoke_session(logins[1].session.id)
        authsvc_server.start()
        await watcher.wait_for_revision(revision)

    for each in logins:
        with pytest.raises(TokenRevoked):
            verifier.verify(each.tokens.access_token)


def test_a_sync_program_follows_it(authsvc_server: FakeAuthService) -> None:
    """A program without an event loop logs in and follows revocations, in a plain test function."""
    authsvc_server.add_user("alice")
    verifier = Verifier(authsvc_server.issuer, "orders", clock=authsvc_server.clock)
    client = SyncAuthClient(
        authsvc_server.address, issuer=authsvc_server.issuer, client_key=authsvc_server.client_key
    )
    with client, WatcherThread(authsvc_server.address, authsvc_server.client_key, verifier) as watcher:
        watcher.ready()
        signed_in = client.login("alice", PASSWORD)
        assert signed_in.tokens is not None
        token = verifier.verify(signed_in.tokens.access_token)

        watcher.wait_for_revision(client.logout(signed_in.tokens.access_token))

        with pytest.raises(TokenRevoked):
            verifier.verify(signed_in.tokens.access_token)
    assert token.client_id == "app"


async def test_keys_change_under_followers(authsvc_server: FakeAuthService) -> None:
    """A tainted key is distrusted by followers at once, and they learn the new one from the same stream."""
    verifier = Verifier(authsvc_server.issuer, "orders", clock=authsvc_server.clock)
    old = authsvc_server.log_in("alice").tokens.access_token
    async with Watcher(authsvc_server.address, authsvc_server.client_key, verifier) as watcher:
        await watcher.ready()
        verifier.verify(old)

        await watcher.wait_for_revision(authsvc_server.taint_key())

        verifier.verify(authsvc_server.log_in("alice").tokens.access_token)
        with pytest.raises(Exception, match=r"not known|revoked"):
            verifier.verify(old)


async def test_a_guarded_service_end_to_end(authsvc_server: FakeAuthService) -> None:
    """A user's service, guarded, lets in tokens of either kind until their session ends."""

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    verifier = Verifier(authsvc_server.issuer, "orders", clock=authsvc_server.clock)
    remote = RemoteChecks(authsvc_server.address, authsvc_server.client_key)
    policy = Policy({f"{ORDERS}/Echo": authenticated()})
    guard = server_interceptor(verifier, policy, remote=remote, services=[f"{ORDERS}/Echo"])
    server = grpc.aio.server(interceptors=[guard])
    handler: Any = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ORDERS, handler),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    login = authsvc_server.log_in("alice")
    async with Watcher(authsvc_server.address, authsvc_server.client_key, verifier) as watcher:
        await watcher.ready()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Callable[..., Awaitable[bytes]] = channel.unary_unary(f"/{ORDERS}/Echo")
            for token in (login.session_token, login.tokens.access_token):
                assert await call(b"hello", metadata=bearer(token)) == b"hello"

            await watcher.wait_for_revision(authsvc_server.revoke_session(login.session.id))

            reasons = []
            for token in (login.session_token, login.tokens.access_token):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(b"hello", metadata=bearer(token))
                reasons.append(reason_of(refused.value))
    await remote.close()
    await server.stop(None)
    assert reasons == ["SESSION_NOT_ACTIVE", "ACCESS_TOKEN_REVOKED"]


async def test_it_can_be_out_of_order(authsvc_server: FakeAuthService) -> None:
    """While it is down nothing is known: calls are UNAVAILABLE, refresh tokens are not burnt, streams end."""
    login = authsvc_server.log_in("alice")
    request = pb.RefreshRequest(refresh_token=login.tokens.refresh_token)
    by = bearer(authsvc_server.client_key)
    async with grpc.aio.insecure_channel(authsvc_server.address) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        stream = aiter(stub.Watch(pb.WatchRequest(), metadata=by))
        await anext(stream)

        authsvc_server.go_down()

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Refresh(request, metadata=by)
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            async for _ in stream:
                pass
        authsvc_server.come_back()
        response = await stub.Refresh(request, metadata=by)
    assert refused.value.code() is cut.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "DEPENDENCY_UNAVAILABLE"
    assert not response.replayed


async def test_it_counts_calls(authsvc_server: FakeAuthService) -> None:
    """A test can tell how often its code called: twenty at once who want a token cause one Login."""
    authsvc_server.add_user("alice")
    where, key = authsvc_server.address, authsvc_server.client_key
    async with AuthClient(where, issuer=authsvc_server.issuer, client_key=key) as client:
        source = PasswordLogin(client, "alice", PASSWORD)

        await asyncio.gather(*(source.obtain() for _ in range(20)))

    assert authsvc_server.calls["Login"] == 1


async def test_heartbeats_can_be_held() -> None:
    """A test can let its service's view grow old: while heartbeats are held, watchers hear nothing."""
    with FakeAuthService(heartbeat_ms=20) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = auth_service_pb2_grpc.AuthServiceStub(channel)
            server.hold_heartbeats()
            stream = stub.Watch(pb.WatchRequest(), metadata=bearer(server.client_key))
            await stream.read()
            silent = asyncio.ensure_future(stream.read())
            heard, _ = await asyncio.wait([silent], timeout=0.2)

            server.hold_heartbeats(hold=False)

            beat: Any = await asyncio.wait_for(silent, 10)
            stream.cancel()
    assert not heard
    assert beat.HasField("heartbeat")


async def test_lifetimes_are_the_tests_own() -> None:
    """Lifetimes and clock are given, so that a test need not wait for anything."""
    clock = MovableClock()
    with FakeAuthService(clock=clock, lifetimes=Lifetimes(access_ms=10_000)) as server:
        login = server.log_in("alice")

    assert 8_000 < login.tokens.access_expire_time.ToMilliseconds() - clock() <= 10_000


def test_a_disabled_user_is_out(authsvc_server: FakeAuthService) -> None:
    """Disabling a user ends their sessions and their logins."""
    login = authsvc_server.log_in("alice")

    authsvc_server.disable_user("alice")

    assert authsvc_server.revision == 1
    with grpc.insecure_channel(authsvc_server.address) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        again = pb.LoginRequest(username="alice", password=PASSWORD)
        with pytest.raises(grpc.RpcError):
            stub.Login(again, metadata=bearer(authsvc_server.client_key))
        request = pb.IntrospectRequest(token=login.tokens.access_token)
        assert not stub.Introspect(request, metadata=bearer(authsvc_server.client_key)).active
