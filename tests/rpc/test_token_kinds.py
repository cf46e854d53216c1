"""Every kind of token in every place where a token goes: each is good for its own and for nothing else."""

import base64
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretBytes
from sqlalchemy import delete

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql.schema import signing_keys
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import SECRET, Service, bearer, outcome, run_service

# What a token is, and the only places that take it.
GOOD = {
    "session token": {
        "ValidateSession",
        "ExchangeSession",
        "BatchValidateSessions",
        "Introspect",
        "Revoke",
        "bearer",
    },
    "access token": {"Introspect", "Revoke", "bearer"},
    "refresh token": {"Refresh", "Introspect", "Revoke"},
    "client key": {"bearer"},
}
REFUSED = {
    "ValidateSession": "SESSION_NOT_ACTIVE",
    "ExchangeSession": "SESSION_NOT_ACTIVE",
    "BatchValidateSessions": "inactive",
    "Introspect": "inactive",
    "Refresh": "REFRESH_TOKEN_NOT_ACTIVE",
    "Revoke": "nothing",
}
REFUSED_BEARER = {"CALLER_UNAUTHENTICATED", "ACCESS_TOKEN_INVALID"}


async def _validate(service: Service, token: str) -> str:
    await service.validate(token)
    return "OK"


async def _exchange(service: Service, token: str) -> str:
    request = pb.ExchangeSessionRequest(session_token=token)
    await service.auth.ExchangeSession(request, metadata=service.by("gateway"))
    return "OK"


async def _batch(service: Service, token: str) -> str:
    request = pb.BatchValidateSessionsRequest(session_tokens=[token])
    response = await service.auth.BatchValidateSessions(request, metadata=service.by("gateway"))
    return "OK" if response.results[0].active else "inactive"


async def _introspect(service: Service, token: str) -> str:
    response = await service.introspect(token)
    assert response.active or response == pb.IntrospectResponse()
    return "OK" if response.active else "inactive"


async def _refresh(service: Service, token: str) -> str:
    await service.refresh(token)
    return "OK"


async def _revoke(service: Service, token: str) -> str:
    response = await service.revoke(token=token)
    return "OK" if response.revoked_count else "nothing"


async def _call(service: Service, token: str) -> str:
    # As a user it lists their sessions; as the gateway it may not, but is known.
    said = await outcome(service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(token)))
    return "OK" if said == "CALLER_NOT_PERMITTED" else said


PLACES: dict[str, Callable[[Service, str], Awaitable[str]]] = {
    "ValidateSession": _validate,
    "ExchangeSession": _exchange,
    "BatchValidateSessions": _batch,
    "Introspect": _introspect,
    "bearer": _call,
    "Refresh": _refresh,
    "Revoke": _revoke,  # last: it ends them
}


async def said(service: Service, place: str, token: str) -> str:
    """What a place says to a token: `OK`, or how it refuses."""
    result: list[str] = []

    async def ask() -> None:
        result.append(await PLACES[place](service, token))

    reason = await outcome(ask())
    return result[0] if result else reason


async def tokens_of(service: Service) -> dict[str, str]:
    """One good token of every kind."""
    login = await service.login()
    return {
        "session token": login.session_token,
        "access token": login.tokens.access_token,
        "refresh token": login.tokens.refresh_token,
        "client key": service.keys["gateway"],
    }


@pytest.mark.parametrize("kind", GOOD)
async def test_each_kind_in_each_place(service: Service, kind: str) -> None:
    """A token is good where its kind belongs, and elsewhere is refused like any text."""
    token = (await tokens_of(service))[kind]

    found = {place: await said(service, place, token) for place in PLACES}

    for place, answer in found.items():
        if place in GOOD[kind]:
            assert answer == "OK", place
        elif place == "bearer":
            assert answer in REFUSED_BEARER
        else:
            assert answer == REFUSED[place], place


def _other_prefix(prefix: str) -> Callable[[str], str]:
    return lambda token: prefix + token[4:]


def _flipped(place: int) -> Callable[[str], str]:
    """One bit of the decoded token turned over."""

    def turn(token: str) -> str:
        body = bytearray(base64.urlsafe_b64decode(token[4:]))
        body[place] ^= 1
        return token[:4] + base64.urlsafe_b64encode(body).decode()

    return turn


SPOILT: dict[str, Callable[[str], str]] = {
    "other key id": _flipped(0),
    "other secret": _flipped(25),
    "other MAC, first byte": _flipped(-9),
    "other MAC, last byte": _flipped(-1),
    "cut short": lambda token: token[:-1],
    "cut by a group": lambda token: token[:-4],
    "made longer": lambda token: token + "AAAA",
    "padded": lambda token: token + "=",
    "space before": lambda token: " " + token,
    "space after": lambda token: token + " ",
    "newline after": lambda token: token + "\n",
    "upper-case prefix": lambda token: token[:4].upper() + token[4:],
    "as session": _other_prefix("ats_"),
    "as refresh": _other_prefix("atr_"),
    "as client key": _other_prefix("atc_"),
    "no prefix": lambda token: token[4:],
    "standard alphabet": lambda token: token[:-3] + "+/A",
    "not ASCII": lambda token: token[:-1] + "é",
    "nothing but the prefix": lambda token: token[:4],
}


async def test_spoilt_tokens(service: Service) -> None:
    """A token of ours with anything changed is no token, in any place."""
    tokens = await tokens_of(service)
    opaque = [tokens[kind] for kind in ("session token", "refresh token", "client key")]

    for name, spoil in SPOILT.items():
        for token in {spoil(token) for token in opaque} - set(opaque):
            for place, refused in REFUSED.items():
                assert await said(service, place, token) in (refused, "INVALID_REQUEST"), (name, place)


async def test_spoilt_bearers(service: Service) -> None:
    """Nor does it name a caller. (gRPC itself carries no newlines, no accents and no outer spaces in metadata.)"""
    tokens = await tokens_of(service)
    unsendable = {"newline after", "not ASCII", "space after"}

    for name in SPOILT.keys() - unsendable:
        for token in {SPOILT[name](tokens[kind]) for kind in ("session token", "client key")} - set(
            tokens.values()
        ):
            assert await said(service, "bearer", token) in REFUSED_BEARER, name


async def test_tokens_of_another_deployment(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Tokens made under another secret are refused, even where both deployments share database and cache."""
    async with run_service(sqlite_url, valkey.url, secret_keys=SecretBytes(b"f" * 40)) as other:
        foreign = await tokens_of(other)
        foreign.pop("access token")
        # A signing key sealed under the one secret does not open under the other.
        await other.app.stores.database.change(delete(signing_keys))

        async with run_service(sqlite_url, valkey.url) as service:
            found = {
                (kind, place): await said(service, place, token)
                for kind, token in foreign.items()
                for place in REFUSED
            }
            bearers = {await said(service, "bearer", token) for token in foreign.values()}

    assert found == {(kind, place): REFUSED[place] for kind in foreign for place in REFUSED}
    assert bearers == {"CALLER_UNAUTHENTICATED"}


async def test_access_token_of_another_deployment(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An access token signed by another deployment is refused, though it has the same issuer and users."""
    url = f"sqlite:///{tmp_path_factory.mktemp('other') / 'authsvc.db'}"
    await upgrade_to_head(url)
    async with run_service(url, "none") as other:
        foreign = (await other.login()).tokens.access_token

    assert await said(service, "Introspect", foreign) == "inactive"
    assert await said(service, "Revoke", foreign) == "nothing"
    assert await said(service, "bearer", foreign) == "ACCESS_TOKEN_INVALID"


async def test_old_secret_still_opens(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """After a new secret is put first, tokens made under the old one stay good until it is taken away."""
    async with run_service(sqlite_url, valkey.url) as before:
        tokens = await tokens_of(before)

    both = SecretBytes(b"n" * 40 + b"\n" + SECRET)
    async with run_service(sqlite_url, valkey.url, secret_keys=both) as after:
        answers = [
            await said(after, "bearer", tokens["client key"]),
            await said(after, "Introspect", tokens["access token"]),
        ]
        renewed = await after.refresh(tokens["refresh token"])
        validated = await after.validate(tokens["session token"])

    assert answers == ["OK", "OK"]
    assert renewed.session.id == validated.session.id
