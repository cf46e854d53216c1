"""Why a token is refused, as an admin is told: the sentence that decides comes first."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretBytes

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.key_lifecycle import KEPT_MS, PUBLISH_AHEAD_MS
from authsvc.core.signing_keys import Signer, ring_from_pem
from authsvc.core.tokens import TokenMint
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1.resources_pb2 import REVOKE_REASON_COMPROMISED
from tests.parts.service import ISSUER, PASSWORD, Service, outcome, run_service
from tests.rpc.test_key_lifecycle import key_id_of, rotate, taint

ACCESS_TTL = 5 * MINUTE


async def explained(service: Service, token: str, ahead_ms: int | None = None, **asked: Any) -> Any:
    """Ask the service; `ahead_ms` is how far the clock of the refusing service is ahead of its own."""
    request = admin.ExplainTokenRequest(token=token, **asked)
    if ahead_ms is not None:
        request.verifier_time.CopyFrom(_timestamp(service.clock() + ahead_ms))
    return await service.admin.ExplainToken(request, metadata=service.by("root"))


async def finding(service: Service, token: str, **asked: Any) -> str:
    """The sentence that decides about a token that is not active."""
    response = await explained(service, token, **asked)
    assert not response.active
    return str(response.findings[0])


def _timestamp(at: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMilliseconds(at)
    return moment


def _signed_by(signer: Signer, **changes: Any) -> str:
    claims = {
        "iss": ISSUER, "sub": "user", "aud": ["orders"], "client_id": "web", "iat": 1_790_000_000,
        "exp": 1_790_000_300, "jti": "token", "sid": "session", **changes,
    }  # fmt: skip
    return signer.sign(json.dumps({name: value for name, value in claims.items() if value}).encode())


async def test_good_tokens(service: Service) -> None:
    """Of a good token of each kind nothing is found wrong, and whose it is."""
    login = await service.login()
    tokens = {
        "session_token": login.session_token,
        "access_token": login.tokens.access_token,
        "refresh_token": login.tokens.refresh_token,
    }

    for kind, token in tokens.items():
        found = await explained(service, token, ahead_ms=500)
        assert (found.active, list(found.findings), found.token_type) == (True, [], kind)
        assert (found.session_id, found.user_id) == (login.session.id, login.session.user_id)
    key = await explained(service, service.keys["web"])
    assert (key.active, key.token_type, key.client_id) == (True, "client_key", "web")


async def test_explaining_changes_nothing(service: Service) -> None:
    """To explain a token neither keeps its session alive nor uses it up."""
    login = await service.login()
    service.clock.move(29 * MINUTE)
    assert (await explained(service, login.session_token)).active
    assert (await explained(service, login.tokens.refresh_token)).active
    service.clock.move(2 * MINUTE)

    assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert not (await service.refresh(login.tokens.refresh_token)).replayed


async def test_expired(service: Service) -> None:
    """An access token that has expired is said to have, since when to the tenth of a second."""
    service.clock.stop()
    login = await service.login()
    expires_at = login.tokens.access_expire_time.ToMilliseconds()
    service.clock.move(expires_at - service.clock() + 3_200)

    found = await explained(service, login.tokens.access_token)

    assert found.findings[0].startswith("It expired 3.2 s ago, at 20")
    assert "Verifiers allow for 15 s." in found.findings[0]
    assert found.expire_time.ToMilliseconds() == expires_at


async def test_tainted_key(service: Service) -> None:
    """A tainted key comes before all else, with revision and comment."""
    login = await service.login()
    revision = await taint(service, key_id_of(login.tokens.access_token), "laptop stolen")
    service.clock.move(6 * MINUTE)

    found = await explained(service, login.tokens.access_token)

    key_id = key_id_of(login.tokens.access_token)
    assert found.findings[0].startswith(
        f"Its signing key {key_id} was tainted at revision {revision}: laptop stolen; that was 6 min 0 s ago"
    )
    assert found.findings[1].startswith("It expired")


async def test_retired_key(service: Service) -> None:
    """A token of a key that is long retired is still recognised as ours."""
    token = (await service.login()).tokens.access_token
    service.clock.move(PUBLISH_AHEAD_MS)
    await rotate(service)
    service.clock.move(KEPT_MS + SECOND)
    await service.app._signing_keys.step()

    assert "is retired" in await finding(service, token)


async def test_revoked_by_an_admin(service_on_each: Service) -> None:
    """A revoked session is said to be, by whom, why, and at which revision, for each of its tokens."""
    service = service_on_each
    login = await service.login()
    target = {"session_id": login.session.id, "reason": REVOKE_REASON_COMPROMISED}
    revision = (await service.revoke("root", **target)).revision
    service.clock.move(4 * SECOND)

    for token in (login.session_token, login.tokens.access_token, login.tokens.refresh_token):
        said = await finding(service, token)
        assert said.startswith(
            f"Its session was revoked by root at revision {revision}, reason `compromised`, 4."
        )


async def test_revoked_with_all_of_the_users(service_on_each: Service) -> None:
    """So is a session that ended together with others."""
    service = service_on_each
    logins = [await service.login() for _ in range(3)]
    request = admin.SetPasswordRequest(user_id=service.user_ids["alice"], password=PASSWORD[::-1])
    await service.admin.SetPassword(request, metadata=service.by("root"))

    said = {await finding(service, login.session_token) for login in logins}

    assert sorted(each.partition(" ago")[0][:-6] for each in said) == [
        f"Its session was revoked by root at revision {number}, reason `password_changed`,"
        for number in (1, 2, 3)
    ]


async def test_wrong_audience(service: Service) -> None:
    """A token for somebody else names whom it is for."""
    token = (await service.login(audiences=["billing"])).tokens.access_token

    assert await finding(service, token, audience="orders") == "It is for billing, and not for orders."


@pytest.mark.parametrize(
    ("ahead_ms", "said"),
    [
        (18_000, "The verifier's clock is off by +18.0 s; more than the 15 s that are allowed for."),
        (-9_000, "The verifier's clock is off by -9.0 s; within the 15 s that are allowed for."),
        (HOUR, "The verifier's clock is off by +3600.0 s: there the token expired 5"),
        (-HOUR, "The verifier's clock is off by -3600.0 s: there the token is from the future, by "),
    ],
)
async def test_wrong_clock(service: Service, ahead_ms: int, said: str) -> None:
    """A clock that is wrong where the token is refused is found out, though the token itself is good."""
    service.clock.stop()
    token = (await service.login()).tokens.access_token

    found = await explained(service, token, ahead_ms=ahead_ms)

    assert found.active
    assert found.findings[0].startswith(said)


async def test_from_the_future(service: Service) -> None:
    """A token from the future says that a clock here is wrong."""
    token = (await service.login()).tokens.access_token
    service.clock.move(-18 * SECOND)

    said = await finding(service, token)

    assert said.startswith("It was issued 1")
    assert said.endswith("the issuer's clock or ours is wrong.")


async def test_not_ours(service: Service) -> None:
    """What another deployment, or nobody, has signed or minted is told apart from what was altered."""
    login = await service.login()
    foreign = Signer(ec.generate_private_key(ec.SECP256R1()))
    mints = [TokenMint(secrets, lambda size: bytes(size)) for secrets in _other_secrets(service)]
    access, session = login.tokens.access_token, login.session_token

    said = {
        "another key": await finding(service, _signed_by(foreign)),
        "altered": await finding(service, access[:-4] + ("AAAA" if access[-4:] != "AAAA" else "BBBA")),
        "no JWT": await finding(service, "hello"),
        "no header": await finding(service, "ey.ey.ey"),
        "MAC": await finding(service, session[:-1] + ("A" if session[-1] != "A" else "B")),
        "secret": await finding(service, mints[0].session_token().text),
        "cut": await finding(service, session[:-10]),
        "characters": await finding(service, session[:-1] + "!"),
    }

    parts = {
        "another key": f"names the key {foreign.key_id}, and this deployment never had that",
        "altered": "its signature is not by that key",
        "no JWT": "no token of ours: neither",
        "no header": "no token of ours: neither",
        "MAC": "its MAC is wrong",
        "secret": "a deployment secret that is not listed",
        "cut": "cut off",
        "characters": "holds characters",
    }
    assert {name: part in said[name] for name, part in parts.items()} == dict.fromkeys(parts, True), said


def _other_secrets(service: Service) -> list[Any]:
    """Secrets of another deployment, told apart from ours by their ids."""
    made = [type(service.app.settings.secrets)([bytes([letter]) * 40]) for letter in b"abc"]
    return [each for each in made if each.current_id != service.app.settings.secrets.current_id]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "https://other.example.com"}, f"Its issuer is https://other.example.com, and not {ISSUER}."),
        ({"jti": None}, "It lacks the claim `jti`, which every access token has."),
        ({"aud": "x" * 5_000}, "It is longer than 4 KiB, more than any access token."),
        ({"exp": 1}, "Its claim `exp` is not as an access token's must be."),
        ({}, "It expired "),
    ],
)
async def test_odd_claims(sqlite_url: str, changes: dict[str, Any], said: str) -> None:
    """What one of our own keys signed, but no access token may say, is named."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    async with run_service(sqlite_url, "none", signing_key=SecretBytes(pem)) as service:
        token = _signed_by(ring_from_pem(pem, 0).signer, **changes)

        assert (await finding(service, token)).startswith(said)


async def test_session_deadlines(service: Service) -> None:
    """A session that was idle for too long, and one that reached its absolute deadline, are told apart."""
    idle, old = await service.login(), await service.login()
    for _ in range(24):
        service.clock.move(29 * MINUTE)
        await service.validate(old.session_token)
    idle_said = await finding(service, idle.session_token)
    service.clock.move(30 * MINUTE)
    old_said = await finding(service, old.session_token)

    assert idle_said.startswith(
        "The session was not used for too long: its idle deadline passed 11 h 6 min ago"
    )
    assert "reached its absolute deadline 6 min" in old_said


async def test_used_refresh_tokens(service: Service) -> None:
    """A refresh token that was used before says what a further use would do, and is not used by asking."""
    first = (await service.login()).tokens.refresh_token
    second = (await service.refresh(first)).tokens.refresh_token
    replayable = await finding(service, first)
    await service.refresh(second)

    stale = await finding(service, first)

    assert "it gets the same successor again" in replayable
    assert "number 0 of its session, which is at 2" in stale
    assert (await explained(service, second)).session_id


async def test_expired_refresh_token(service: Service) -> None:
    """A refresh token that lay idle says so."""
    token = (await service.login()).tokens.refresh_token
    service.clock.move(31 * DAY)

    assert (await finding(service, token)).startswith("The refresh token was not used for too long")


async def test_client_keys(service: Service) -> None:
    """A client's key that was replaced, or whose client is revoked, says so."""
    old = service.keys["web"]
    rotating = admin.RotateClientKeyRequest(client_id="web", overlap_seconds=60)
    await service.admin.RotateClientKey(rotating, metadata=service.by("root"))
    assert (await explained(service, old)).active
    service.clock.move(2 * MINUTE)
    replaced = await finding(service, old)
    await service.admin.RevokeClient(admin.RevokeClientRequest(client_id="web"), metadata=service.by("root"))

    assert replaced.startswith("A newer key took its place; it ended 1 min 0 s ago")
    assert "the client was revoked" in await finding(service, old)


async def test_without_a_cache(sqlite_url: str, own_valkey: EmbeddedValkey) -> None:
    """While the cache is down, sessions are explained by what the database knows."""
    async with run_service(sqlite_url, own_valkey.url) as service:
        login = await service.login()
        await own_valkey.stop()

        assert (await explained(service, login.session_token)).active
        service.clock.move(31 * MINUTE)
        assert "idle deadline passed" in await finding(service, login.session_token)


async def test_bad_requests(service: Service) -> None:
    """A token there must be, an audience has an end, and a time must be one."""
    login = await service.login()
    far = Timestamp(seconds=2**62)

    assert await outcome(explained(service, "")) == "INVALID_REQUEST"
    assert (
        await outcome(explained(service, login.tokens.access_token, audience="x" * 200)) == "INVALID_REQUEST"
    )
    assert (
        await outcome(explained(service, login.tokens.access_token, verifier_time=far)) == "INVALID_REQUEST"
    )
