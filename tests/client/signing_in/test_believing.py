"""No access token is attached that the issuer's own keys did not sign for it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import (
    AuthClient,
    PasswordLogin,
    ReceivedTokenRejected,
    RefreshTokenSource,
    SignInFailed,
    SyncAuthClient,
    open_channel,
)
from tests.client.signing_in.between import Between
from tests.client.signing_in.called import Called, method
from tests.client.strict_minting import ATTACKER_KEY, JWK, KEY, claims, header, mint
from tests.parts.service import ISSUER, PASSWORD, Service


def _token(**changes: Any) -> str:
    return mint(claims(**{"iss": ISSUER, "iat": 1_000_000_000, "exp": 4_000_000_000, **changes}))


FORGERIES: dict[str, Callable[[], str]] = {
    "signed by another key under a known kid": lambda: mint(claims(iss=ISSUER), header(), ATTACKER_KEY),
    "from another issuer": lambda: _token(iss="https://other.example.com"),
    "of another type": lambda: mint(claims(iss=ISSUER), header(typ="JWT"), KEY),
    "not a token": lambda: "not.a.token",
    "empty": lambda: "",
}


def _fake(between: Between, token: str) -> None:
    """Make the go-between a false authsvc: it publishes a key of its own and hands out this token."""

    def keys(answer: bytes) -> bytes:
        response = pb.GetKeySetResponse.FromString(answer)
        response.jwks = json.dumps({"keys": [JWK]})
        return response.SerializeToString()

    def tokens(kind: type[pb.LoginResponse] | type[pb.RefreshResponse]) -> Callable[[bytes], bytes]:
        def change(answer: bytes) -> bytes:
            response = kind.FromString(answer)
            response.tokens.access_token = token
            return response.SerializeToString()

        return change

    between.replies = {
        "GetKeySet": keys,
        "Login": tokens(pb.LoginResponse),
        "Refresh": tokens(pb.RefreshResponse),
    }


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_never_attached(
    service: Service, between: Between, called: Called, forgery: str
) -> None:
    """Whatever a false authsvc hands out, the call fails and nothing is sent to the service."""
    await service.add_user()
    _fake(between, FORGERIES[forgery]())
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        async with open_channel(called.target, source) as channel:
            with pytest.raises(ReceivedTokenRejected):
                await method(channel)(b"ask")

    assert called.seen == []


async def test_a_token_is_for_the_audience_asked_for(
    service: Service, between: Between, called: Called
) -> None:
    """A token meant for somebody else is not attached, well signed as it may be."""
    await service.add_user()
    _fake(between, _token(aud="billing"))
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD, audiences=("orders",))
        async with open_channel(called.target, source) as channel:
            with pytest.raises(ReceivedTokenRejected):
                await method(channel)(b"ask")

    assert called.seen == []


async def test_by_hand_too_nothing_unverified_is_returned(service: Service, between: Between) -> None:
    """`login` and `refresh` raise rather than return a token that does not verify."""
    login = await service.login()
    _fake(between, _token(iss="https://other.example.com"))
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        with pytest.raises(ReceivedTokenRejected):
            await auth.login("alice", PASSWORD)
        with pytest.raises(ReceivedTokenRejected):
            await auth.refresh(login.tokens.refresh_token)


async def test_a_client_with_a_wrong_clock_keeps_its_session(service: Service, between: Between) -> None:
    """A token that only its times speak against is not used, yet the successor that came with it is kept."""
    login = await service.login()
    off = 3_600_000

    def clock() -> int:
        return service.clock() + off

    async with AuthClient(
        between.address, issuer=ISSUER, client_key=service.keys["web"], clock=clock
    ) as auth:
        source = RefreshTokenSource(auth, login.tokens.refresh_token)
        with pytest.raises(ReceivedTokenRejected):
            await source.obtain()
        off = 0
        service.clock.move(3_600_000 + 60_000)

        assert await source.obtain()

    assert between.counts["Refresh"] == 2


async def test_a_slightly_wrong_clock_does_no_harm(service: Service) -> None:
    """A clock that is a few minutes off neither refuses tokens nor renews them with every call."""
    await service.add_user()
    for off in (-240_000, 240_000):
        client = AuthClient(
            service.address,
            issuer=ISSUER,
            client_key=service.keys["web"],
            clock=lambda off=off: service.clock() + off,  # type: ignore[misc]
        )
        async with client:
            source = PasswordLogin(client, "alice", PASSWORD)
            assert await source.obtain() == await source.obtain()


async def test_an_issuer_is_required() -> None:
    """Without an issuer there is nothing to verify against, and no client."""
    with pytest.raises(ValueError, match="issuer"):
        AuthClient("localhost:1", issuer="")
    with pytest.raises(ValueError, match="issuer"):
        SyncAuthClient("localhost:1", issuer="")


async def test_tokens_appear_in_no_text(service: Service) -> None:
    """What the client returns and raises can be logged: no token is in it."""
    await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        signed_in = await auth.login("alice", PASSWORD)
        source = RefreshTokenSource(auth, signed_in.tokens.refresh_token if signed_in.tokens else "")
        bearer = await source.obtain()

        texts = repr((signed_in, source, source._renewal._held, source._renewal._store.read()))

    assert signed_in.tokens is not None
    for secret in (signed_in.session_token, signed_in.tokens.refresh_token, bearer, service.keys["web"]):
        assert secret not in texts
        assert secret not in repr(vars(source))
    assert "Bearer" not in repr(SignInFailed("x"))
