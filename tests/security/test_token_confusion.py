"""Every kind of token in every place that takes one: good for its own, and for nothing else (RFC 8725 §3.12)."""

from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretBytes

from authsvc.core.clock import SECOND
from authsvc.stores.embedded import EmbeddedValkey
from tests.client.strict_minting import ISSUER, JWK, KEY, claims, header, mint
from tests.parts.authenticator import Authenticator, enrol
from tests.parts.service import Service, run_service
from tests.security.token_places import COOKIES, EDGE, GOOD, PLACES, fields, present

PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SESSION_COOKIE, REFRESH_COOKIE, DEVICE_COOKIE = COOKIES
EDGE_BEARER, EDGE_COOKIE = EDGE
ANY_TOKEN = {"session token", "access token", "refresh token"}
# By place, the kinds that are good there. Every place there is must be in it.
BELONGS: dict[str, set[str]] = {
    "AuthService/ValidateSession.session_token": {"session token"},
    "AuthService/BatchValidateSessions.session_tokens": {"session token"},
    "AuthService/ExchangeSession.session_token": {"session token"},
    "AuthService/StepUp.token": {"session token", "access token"},
    "AuthService/Introspect.token": ANY_TOKEN,
    "AuthService/Refresh.refresh_token": {"refresh token"},
    "AuthService/Revoke.token": ANY_TOKEN,
    "AuthService/Login.challenge_token": {"challenge"},
    "AuthService/Login.device_token": {"device credential"},
    "AdminService/ExplainToken.token": {*ANY_TOKEN, "client key"},
    "authorization": {"session token", "access token", "client key"},
    SESSION_COOKIE: {"session token"},
    REFRESH_COOKIE: {"refresh token"},
    DEVICE_COOKIE: {"device credential"},
    EDGE_BEARER: {"session token", "access token"},
    EDGE_COOKIE: {"session token"},
}
# How a place may refuse: as it would refuse any text.
REFUSALS = {
    "inactive", "SESSION_NOT_ACTIVE", "REFRESH_TOKEN_NOT_ACTIVE", "CALLER_UNAUTHENTICATED", "ACCESS_TOKEN_INVALID",
    "CHALLENGE_NOT_ACTIVE", "INVALID_REQUEST",
}  # fmt: skip


@pytest.fixture
async def service(sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Service]:
    """An instance whose signing key the tests hold."""
    async with run_service(sqlite_url, valkey.url, issuer=ISSUER, signing_key=SecretBytes(PEM)) as running:
        yield running


async def tokens_of(service: Service, app: Authenticator) -> dict[str, str]:
    """A good token of each kind that there is here, and of kinds that others sign, under our own key."""
    one, two, three = [await service.login("bob") for _ in range(3)]  # of three sessions: some places end one
    now_s = service.clock() // SECOND
    times = {"iat": now_s - 1, "exp": now_s + 60}
    proof = {"htm": "POST", "htu": "https://auth.example", "jti": "1", "iat": now_s}
    return {
        "session token": one.session_token,
        "access token": two.tokens.access_token,
        "refresh token": three.tokens.refresh_token,
        "client key": service.keys["gateway"],
        "device credential": one.device_token,
        "challenge": (await app.challenge()).challenge_token,
        "ID token": mint(claims(aud="web", **times), header(typ="JWT")),
        "ID token without a type": mint(claims(aud="web", **times), {"alg": "ES256", "kid": JWK["kid"]}),
        "DPoP proof": mint(proof, header(typ="dpop+jwt")),
        "logout token": mint(claims(**times), header(typ="logout+jwt")),
        "introspection answer": mint(claims(**times), header(typ="token-introspection+jwt")),
        "client assertion": mint(claims(sub="web", **times), header(typ="client-authentication+jwt")),
        "session id": one.session.id,
        "one-time code": app.next_code(),
    }


def test_every_place_is_judged() -> None:
    """A field of the contract that takes a token, and that nobody thought of here, fails this."""
    assert set(PLACES) == set(BELONGS)
    assert len(list(fields())) >= 9


@pytest.mark.parametrize("place", PLACES)
async def test_kinds(service: Service, place: str) -> None:
    """A token is good where its kind belongs; elsewhere it is refused like any text that is none.

    Guards: `core/tokens.py:TokenMint._open`, the prefix and the kind in the MAC, and behind them each kind's own store:
    any one alone holds. For JWTs `strict/profile.py:verify_with_key`, `typ`; for challenges
    `core/login_challenge.py:_sealed`.
    """
    app = await enrol(service)
    tokens = await tokens_of(service, app)
    besides = {"one_time_code": app.next_code()} if place == "AuthService/Login.challenge_token" else {}

    said = {kind: await present(service, place, token, **besides) for kind, token in tokens.items()}

    assert {kind for kind, answer in said.items() if answer == GOOD} == BELONGS[place]
    assert {answer for answer in said.values() if answer != GOOD} <= REFUSALS, said
