"""Hostile JWTs through the front door: a real server, a real channel, every place that takes a token.

The list is that of `tests/client/test_strict_hostile.py`; here the server holds the key that the forger signs with, so
that whatever is refused is refused for the attack alone. The guards are in `authsvc_client/strict`: `jws.py` for
headers, `compact.py` and `strictjson.py` for the text, `profile.py` for claims. Two have another layer behind them:
where `jwk` is let through, the key in it verifies nothing; and no long `kid` is in the dictionary.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretBytes

from authsvc.core.clock import MINUTE
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.client.strict_minting import (
    ATTACKER_KEY,
    DROP,
    ISSUER,
    JWK,
    KEY,
    NOW,
    NOW_S,
    OTHER_KEY,
    claims,
    header,
    mint,
)
from tests.client.test_strict_hostile import GOOD as WELL_FORMED
from tests.client.test_strict_hostile import HOSTILE
from tests.parts.service import MovableClock, Service, run_service
from tests.security.token_places import AUTHORIZATION, COOKIES, EDGE, GOOD, PLACES, present

PEMS = b"".join(
    key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in (KEY, OTHER_KEY)
)
NOT_A_CALLER = {"ACCESS_TOKEN_INVALID", "ACCESS_TOKEN_EXPIRED", "CALLER_UNAUTHENTICATED"}
# How a place says no to what is no token of ours. What is empty, too long, or holds a NUL is no request either.
REFUSED = {
    "AuthService/ValidateSession.session_token": {"SESSION_NOT_ACTIVE"},
    "AuthService/BatchValidateSessions.session_tokens": {"inactive"},
    "AuthService/ExchangeSession.session_token": {"SESSION_NOT_ACTIVE"},
    "AuthService/StepUp.token": {"SESSION_NOT_ACTIVE", "ACCESS_TOKEN_INVALID", "ACCESS_TOKEN_EXPIRED"},
    "AuthService/Introspect.token": {"inactive"},
    "AuthService/Refresh.refresh_token": {"REFRESH_TOKEN_NOT_ACTIVE"},
    "AuthService/Revoke.token": {"inactive"},
    "AuthService/Login.challenge_token": {"CHALLENGE_NOT_ACTIVE"},
    "AdminService/ExplainToken.token": {"inactive"},
    **{place: {"inactive"} for place in EDGE},
    AUTHORIZATION: NOT_A_CALLER,
}
TOO_LARGE = 11_000


@pytest.fixture
async def service(sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO) -> AsyncIterator[Service]:
    """An instance that signs with the forger's own keys, at the forger's own time."""
    clock = MovableClock()
    clock.stop()
    clock.move(NOW - clock())
    async with run_service(
        sqlite_url, valkey.url, clock=clock, issuer=ISSUER, signing_key=SecretBytes(PEMS)
    ) as running:
        yield running


def sendable(token: str) -> bool:
    """Whether gRPC carries it as a metadata value and as a protobuf string at all."""
    return token.isascii() and token.isprintable() and token == token.strip() and len(token) < TOO_LARGE


def encodable(token: str) -> bool:
    """Whether a message can hold it: a lone surrogate is no text, and a megabyte no message."""
    return "\ud800" not in token and len(token) < TOO_LARGE


def _is_plain(token: str) -> bool:
    return 0 < len(token) <= 4096 and token.isprintable()


async def test_hostile_tokens(service: Service, log: io.StringIO) -> None:
    """Each of some two hundred hostile tokens is refused in every place, as any text would be; none makes a defect."""
    tokens = {name: make() for name, make, _ in HOSTILE}
    found = {
        (name, place): await present(service, place, token)
        for name, token in tokens.items()
        for place in REFUSED
        if encodable(token) and (place != AUTHORIZATION or sendable(token))
    }

    odd = {
        (name, place): said
        for (name, place), said in found.items()
        if said not in REFUSED[place] and not (said == "INVALID_REQUEST" and not _is_plain(tokens[name]))
    }
    assert odd == {}
    assert len(found) > 1_500
    assert '"incident"' not in log.getvalue()


async def test_what_they_are_made_from(service: Service) -> None:
    """The tokens that they are made from are good: they are refused for the attack alone."""
    for name, make in WELL_FORMED:
        token = make()

        assert await present(service, "AuthService/Introspect.token", token) == GOOD, name
        assert await present(service, AUTHORIZATION, token) == GOOD, name


def test_every_place_is_attacked() -> None:
    """Every field that takes a token is among the places. Cookies are read into the same ones; what is no device
    credential slows nobody down and helps nobody, see `test_token_confusion.py`."""
    assert set(REFUSED) == {place for place in PLACES if place not in COOKIES and "device" not in place}


# What only a server can judge: other deployments, other keys, other audiences, other times.
FRONT_DOOR: dict[str, Callable[[], str]] = {
    "alg none, unsigned": lambda: mint(head=header(alg="none")).rpartition(".")[0] + ".",
    "kid of the key that no longer signs": lambda: mint(head=header(kid="0" * 43)),
    "kid a path": lambda: mint(head=header(kid="../../../../../dev/null")),
    "kid SQL": lambda: mint(head=header(kid="x' UNION SELECT 'y")),
    "kid of 65 characters": lambda: mint(head=header(kid=JWK["kid"] + "A" * 22)),
    "kid of another key, signed by that": lambda: mint(head=header(alg="EdDSA"), key=OTHER_KEY),
    "RS256 with our EC key": lambda: mint(head=header(alg="RS256")),
    "signed by somebody else": lambda: mint(key=ATTACKER_KEY),
    "key embedded": lambda: mint(head=header(jwk=JWK, kid=DROP), key=ATTACKER_KEY),
    "another issuer": lambda: mint(claims(iss="https://other.example")),
    "issued in the future": lambda: mint(claims(iat=NOW_S + 60, exp=NOW_S + 120)),
    "not yet good": lambda: mint(claims(nbf=NOW_S + 60)),
    "expired": lambda: mint(claims(iat=NOW_S - 600, exp=NOW_S - 300)),
    "good for ever": lambda: mint(claims(exp=2**53 + 1)),
}


@pytest.mark.parametrize("name", FRONT_DOOR)
async def test_at_the_front_door(service: Service, name: str) -> None:
    """Nobody enters with such a token, not even beside a good client key."""
    token = FRONT_DOOR[name]()

    assert await present(service, AUTHORIZATION, token) in NOT_A_CALLER
    assert await present(service, "AuthService/Introspect.token", token) == "inactive"
    assert await present(service, "AuthService/Revoke.token", token) == "inactive"


async def test_audience(service: Service) -> None:
    """A token for other audiences than the one asked about is not active; a prefix or another case is another one."""
    for audience, expected in (
        ("orders", True),
        ("order", False),
        ("Orders", False),
        ("orders ", False),
        ("web", False),
    ):
        answer = await service.introspect(mint(), audience=audience)

        assert answer.active is expected, audience
        assert answer.active or answer == pb.IntrospectResponse()


async def test_same_bytes_for_every_reason(service: Service) -> None:
    """Whatever is wrong with a token, Introspect answers with the same bytes: none (RFC 7662 §2.2)."""
    answers = [await service.introspect(make()) for make in FRONT_DOOR.values()]

    assert {answer.SerializeToString() for answer in answers} == {b""}


async def test_nobody_is_called(service: Service) -> None:
    """A token that names addresses to fetch a key from makes the server fetch nothing.

    Guard: `strict/jws.py:read_header`; and that there is nothing in the server that would fetch.
    """
    visits = 0

    def visited(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    listener = await asyncio.start_server(visited, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys"
    async with listener:
        for member in ("jku", "x5u", "kid", "iss", "jwk"):
            token = mint(head=header(**{member: url}), key=ATTACKER_KEY)
            for place in REFUSED:
                assert await present(service, place, token) != GOOD

    assert visits == 0


async def test_token_good_a_moment_ago(service: Service) -> None:
    """That a token was verified before does not keep it good beyond its time, nor make another like it good."""
    token = mint()
    assert await present(service, AUTHORIZATION, token) == GOOD

    assert await present(service, AUTHORIZATION, token[:-4] + "AAAA") == "ACCESS_TOKEN_INVALID"
    service.clock.move(6 * MINUTE)
    assert await present(service, AUTHORIZATION, token) == "ACCESS_TOKEN_EXPIRED"
