"""AuthClient and SyncAuthClient against the real server."""

import asyncio

import grpc
import grpc.aio
import grpc_testing  # type: ignore[import-untyped]
import pytest
from google.protobuf.duration_pb2 import Duration

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client import (
    AuthClient,
    SessionEnded,
    SyncAuthClient,
    SyncRefreshTokenSource,
    reason_of,
    retry_after_ms,
)
from tests.client.strict_minting import JWK, claims, mint, to_json
from tests.parts.service import ISSUER, PASSWORD, Service


async def test_a_session_from_login_to_logout(service: Service) -> None:
    """Log in, list, refresh, log out; after that the refresh token is dead, under the name for it."""
    user_id = await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        signed_in = await auth.login("alice", PASSWORD, audiences=["orders"], scopes=["orders.read"])
        assert signed_in.tokens is not None
        sessions = await auth.list_sessions(signed_in.tokens.access_token)
        refreshed = await auth.refresh(signed_in.tokens.refresh_token)
        assert refreshed.tokens is not None
        revision = await auth.logout(refreshed.tokens.refresh_token)
        with pytest.raises(SessionEnded) as ended:
            await auth.refresh(refreshed.tokens.refresh_token)
        again = await auth.logout(refreshed.tokens.refresh_token)

    assert signed_in.session_token.startswith("ats_")
    assert signed_in.tokens.access.subject == user_id
    assert signed_in.tokens.access.audiences == ("orders",)
    assert signed_in.tokens.access.scopes == {"orders.read"}
    assert [each.id for each in sessions] == [signed_in.session.id] == [refreshed.session.id]
    assert revision == again == 1
    assert ended.value.reason == "REFRESH_TOKEN_NOT_ACTIVE"


async def test_a_session_from_login_to_logout_in_threads(service: Service) -> None:
    """The same for threads."""
    await service.add_user()

    def use() -> int:
        with SyncAuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
            signed_in = auth.login("alice", PASSWORD)
            assert signed_in.tokens is not None
            assert [each.id for each in auth.list_sessions(signed_in.session_token)] == [signed_in.session.id]
            refreshed = auth.refresh(signed_in.tokens.refresh_token)
            assert refreshed.tokens is not None
            revision = auth.logout(signed_in.session_token)
            with pytest.raises(SessionEnded):
                auth.refresh(refreshed.tokens.refresh_token)
            return revision

    assert await asyncio.to_thread(use) == 1


@pytest.mark.parametrize("threads", [False, True])
async def test_a_user_ends_the_other_sessions(service: Service, threads: bool) -> None:
    """One's own other sessions end, one by one or all at once; the session that asks goes on."""
    mine = await service.login()
    others = [await service.login() for _ in range(3)]
    token = mine.tokens.access_token
    if threads:

        def use() -> None:
            with SyncAuthClient(service.address, issuer=ISSUER) as auth:
                assert auth.revoke_session(token, others[0].session.id) == 1
                assert len(auth.list_sessions(token)) == 3
                assert auth.revoke_others(token) == 3

        await asyncio.to_thread(use)
    else:
        async with AuthClient(service.address, issuer=ISSUER) as auth:
            assert await auth.revoke_session(token, others[0].session.id) == 1
            assert len(await auth.list_sessions(token)) == 3
            assert await auth.revoke_others(token) == 3

    async with AuthClient(service.address, issuer=ISSUER) as auth:
        left = await auth.list_sessions(token)
        ended = await auth.list_sessions(token, include_ended=True)
    assert [each.id for each in left] == [mine.session.id]
    assert len(ended) == 4


async def test_all_pages_are_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with more sessions than fit one page gets them all."""
    monkeypatch.setattr("authsvc_client.signing_in.conversations._PAGE_SIZE", 2)
    logins = [await service.login() for _ in range(5)]

    async with AuthClient(service.address, issuer=ISSUER) as auth:
        sessions = await auth.list_sessions(logins[0].tokens.access_token)

    assert {each.id for each in sessions} == {each.session.id for each in logins}


async def test_a_refused_login_says_why(service: Service) -> None:
    """Errors carry the reason, and how long to wait where that helps."""
    await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await auth.login("alice", "not the pass phrase")
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError):
                await auth.login("alice", "not the pass phrase")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await auth.login("alice", "not the pass phrase")

    assert reason_of(wrong.value) == "INVALID_CREDENTIALS"
    assert retry_after_ms(wrong.value) is None
    assert reason_of(refused.value) == "RATE_LIMITED"
    assert (retry_after_ms(refused.value) or 0) > 0


async def test_a_known_device_is_not_slowed_down(service: Service) -> None:
    """What a login said of the device lets the user in while others guess at the account."""
    service.clock.stop()
    await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        device_token = (await auth.login("alice", PASSWORD)).device_token
        for _ in range(10):
            with pytest.raises(grpc.RpcError):
                await auth.login("alice", "quite wrong")

        with pytest.raises(grpc.RpcError) as stranger:
            await auth.login("alice", PASSWORD)
        again = await auth.login("alice", PASSWORD, device_token=device_token)

    assert reason_of(stranger.value) == "RATE_LIMITED"
    assert again.device_token.startswith("atd_")
    assert again.device_token not in repr(again)


async def test_credentials_and_device_are_passed_on(service: Service) -> None:
    """A login that asks for a session token alone gets no pair; the device's label is recorded."""
    await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        signed_in = await auth.login(
            "alice",
            PASSWORD,
            credentials=[resources.CREDENTIAL_SESSION],
            device=resources.Device(label="Kitchen"),
        )
        sessions = await auth.list_sessions(signed_in.session_token)

    assert signed_in.tokens is None
    assert sessions[0].device.label == "Kitchen"


def test_threads_can_be_tested_without_a_server() -> None:
    """A source over a double of a channel: what it asks is seen, what it is told is verified."""
    service = pb.DESCRIPTOR.services_by_name["AuthService"]
    channel = grpc_testing.channel([service], grpc_testing.strict_real_time())
    client = SyncAuthClient(channel, issuer=ISSUER, client_key="key", clock=lambda: 1_800_000_000_000)
    source = SyncRefreshTokenSource(client, "atr_token")
    token = mint(claims(iss=ISSUER))
    source._started()

    _, _, call = channel.take_unary_unary(service.methods_by_name["GetKeySet"])
    keys = pb.GetKeySetResponse(jwks=to_json({"keys": [JWK]}).decode(), max_age=Duration(seconds=60))
    call.terminate(keys, (), grpc.StatusCode.OK, "")
    metadata, request, call = channel.take_unary_unary(service.methods_by_name["Refresh"])
    pair = resources.TokenPair(access_token=token, refresh_token="atr_next")
    call.terminate(pb.RefreshResponse(tokens=pair), (), grpc.StatusCode.OK, "")

    assert source.obtain() == token
    assert request.refresh_token == "atr_token"
    assert ("authorization", "Bearer key") in metadata
