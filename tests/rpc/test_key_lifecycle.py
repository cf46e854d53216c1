"""Signing keys through a real channel: begun and ended by themselves, rotated and distrusted on demand."""

import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretBytes
from sqlalchemy import select

from authsvc.core.clock import DAY, MINUTE
from authsvc.core.key_lifecycle import KEPT_MS, PUBLISH_AHEAD_MS
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql.schema import audit_events
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import PublicKey, SigningKeyState
from authsvc_client import Verifier, Watcher
from authsvc_client.strict import KeySet, TokenRejected, verify_access_token
from tests.parts.service import (
    ISSUER,
    SECRET,
    MovableClock,
    Service,
    bearer,
    outcome,
    reason_of,
    refusal,
    run_service,
)
from tests.parts.valkey import until

ROTATION_MS = 7 * DAY


async def signing_keys(service: Service) -> dict[str, PublicKey]:
    """Every key by its state, in lower case; of several in one state the newest."""
    request = admin.ListSigningKeysRequest()
    listed = (await service.admin.ListSigningKeys(request, metadata=service.by("root"))).keys
    return {_state(key.state): key for key in reversed(listed)}


async def published(service: Service) -> list[tuple[str, str]]:
    """State and id of the keys that anybody is told of, and the same ids in the JWK Set."""
    response = await service.auth.GetKeySet(pb.GetKeySetRequest())
    assert [key["kid"] for key in json.loads(response.jwks)["keys"]] == [key.key_id for key in response.keys]
    return [(_state(key.state), key.key_id) for key in response.keys]


async def rotate(service: Service) -> PublicKey:
    """Rotate; return the key that signs now or will."""
    request = admin.RotateSigningKeyRequest()
    return (await service.admin.RotateSigningKey(request, metadata=service.by("root"))).key


async def taint(service: Service, key_id: str, comment: str = "") -> int:
    """Distrust a key; return the revision."""
    request = admin.TaintSigningKeyRequest(key_id=key_id, comment=comment)
    return (await service.admin.TaintSigningKey(request, metadata=service.by("root"))).revision


async def audited(service: Service) -> list[tuple[str, str, str]]:
    """Event, actor and reason of what happened to keys."""
    columns = audit_events.c["event", "actor", "reason"]
    rows = await service.app.stores.database.read(select(*columns).order_by(audit_events.c.id))
    return [tuple(row) for row in rows if row[0].startswith("key.")]


def key_id_of(access_token: str) -> str:
    """The `kid` in a token's header."""
    header = access_token.partition(".")[0]
    return str(json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


async def signs_with(service: Service) -> str:
    """The key that a login at this instance is signed with."""
    return key_id_of((await service.login()).tokens.access_token)


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until what is done in the background each second has been."""
    await until(condition, within_s=10)


def _state(state: "SigningKeyState.ValueType") -> str:
    return SigningKeyState.Name(state).removeprefix("SIGNING_KEY_STATE_").lower()


@asynccontextmanager
async def two_instances(
    database_url: str, cache_url: str, **changed: Any
) -> AsyncIterator[tuple[Service, Service]]:
    """Two instances over the same stores, with one clock."""
    clock = MovableClock()
    async with (
        run_service(database_url, cache_url, clock, **changed) as one,
        run_service(database_url, cache_url, clock, **changed) as other,
    ):
        yield one, other


async def test_the_next_key_is_published_from_the_start(service: Service) -> None:
    """There are always two keys: one that signs, and the next, which verifiers learn long before it does."""
    keys = await signing_keys(service)

    assert await published(service) == [
        ("active", keys["active"].key_id),
        ("prepared", keys["prepared"].key_id),
    ]
    assert await signs_with(service) == keys["active"].key_id
    signs_from = keys["active"].activate_time.ToMilliseconds() + ROTATION_MS
    assert keys["prepared"].activate_time.ToMilliseconds() == signs_from


async def test_a_life_by_itself(service: Service) -> None:
    """After seven days the next key signs; the old one is believed until its last token is dead, then retired."""
    before = await signing_keys(service)
    old, new = before["active"].key_id, before["prepared"].key_id
    service.clock.move(ROTATION_MS - MINUTE)
    token = (await service.login()).tokens.access_token

    service.clock.move(MINUTE)
    await soon(lambda: _is_active(service, new))

    assert await signs_with(service) == new
    assert (await service.introspect(token)).active
    assert [state for state, _ in await published(service)] == ["active", "prepared", "retiring"]
    service.clock.move(KEPT_MS - MINUTE)
    assert (await signing_keys(service))["retiring"].key_id == old
    service.clock.move(MINUTE + 2_000)
    await soon(lambda: _is_retired(service, old))
    assert [state for state, _ in await published(service)] == ["active", "prepared"]
    assert [event for event, *_ in await audited(service)] == [
        "key.created", "key.created", "key.activated", "key.created", "key.retired",
    ]  # fmt: skip


async def _is_active(service: Service, key_id: str) -> bool:
    keys = await signing_keys(service)
    return keys["active"].key_id == key_id and "prepared" in keys


async def _is_retired(service: Service, key_id: str) -> bool:
    keys = await signing_keys(service)
    return "retired" in keys and keys["retired"].key_id == key_id


async def test_no_key_signs_before_verifiers_can_know_it(service: Service) -> None:
    """A rotation on demand waits until the next key was published for twice the age a key set may reach.

    Held by PUBLISH_AHEAD_MS in ManagedKeys.rotate and _begins_at.
    """
    before = await signing_keys(service)

    planned = await rotate(service)

    max_age = (await service.auth.GetKeySet(pb.GetKeySetRequest())).max_age.ToMilliseconds()
    assert planned.key_id == before["prepared"].key_id
    ahead = planned.activate_time.ToMilliseconds() - planned.create_time.ToMilliseconds()
    assert ahead == PUBLISH_AHEAD_MS == 2 * max_age
    service.clock.move(PUBLISH_AHEAD_MS - MINUTE)
    await service.app._signing_keys.step()
    assert await signs_with(service) == before["active"].key_id
    service.clock.move(MINUTE)
    await soon(lambda: _is_active(service, planned.key_id))
    assert await signs_with(service) == planned.key_id


async def test_rotation_on_demand(service: Service) -> None:
    """A key that was published for long enough signs the moment it is asked to, and the tokens before stay good."""
    before = await signing_keys(service)
    service.clock.move(PUBLISH_AHEAD_MS)
    token = (await service.login()).tokens.access_token

    key = await rotate(service)

    assert (key.key_id, _state(key.state)) == (before["prepared"].key_id, "active")
    assert await signs_with(service) == key.key_id
    assert (await service.introspect(token)).active
    assert (await audited(service))[2] == ("key.activated", "root", key.key_id)


async def test_no_rotation_unless_asked(sqlite_url: str) -> None:
    """With AUTHSVC_KEY_ROTATION=0s a key signs until somebody asks for the next."""
    async with run_service(sqlite_url, "none", key_rotation=0) as service:
        before = await signing_keys(service)
        service.clock.move(1_000 * DAY)

        await service.app._signing_keys.step()

        assert (await signing_keys(service))["active"].key_id == before["active"].key_id
        assert not before["prepared"].HasField("activate_time")
        assert (await rotate(service)).key_id == before["prepared"].key_id


async def test_every_instance_follows(database_url: str, valkey: EmbeddedValkey) -> None:
    """When the time has come one instance of several lets the next key sign, and all sign with it."""
    async with two_instances(database_url, valkey.url) as (one, other):
        new = (await signing_keys(one))["prepared"].key_id
        await one.add_user()
        other.user_ids.update(one.user_ids)

        one.clock.move(ROTATION_MS)

        for service in (one, other):
            await soon(partial(_is_active, service, new))
            assert await signs_with(service) == new
        events = [event for event, *_ in await audited(one)]
        assert sorted(events) == ["key.activated"] + ["key.created"] * 3
        assert await published(one) == await published(other)


async def test_taint(database_url: str, valkey: EmbeddedValkey) -> None:
    """A tainted key's tokens are refused at once where it was said, and everywhere else within a second; another key
    signs; whoever held such a token is told to refresh, and that works.

    Held by revokes_key in OwnTokens, by the swap of the ring, and by the entry in the log.
    """
    async with two_instances(database_url, valkey.url) as (one, other):
        before = await signing_keys(one)
        old, new = before["active"].key_id, before["prepared"].key_id
        login = await one.login()
        other.user_ids.update(one.user_ids)
        assert (await other.introspect(login.tokens.access_token)).active

        revision = await taint(one, old, "seen on a bill board")

        assert not (await one.introspect(login.tokens.access_token)).active
        call = one.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.tokens.access_token))
        assert reason_of(await refusal(call)) == "ACCESS_TOKEN_REVOKED"
        assert await signs_with(one) == new
        await until(lambda: _refused(other, login.tokens.access_token), within_s=1.0)
        await until(lambda: _is_active(other, new), within_s=1.0)
        assert await signs_with(other) == new
        renewed = await other.refresh(login.tokens.refresh_token)
        assert (await one.introspect(renewed.tokens.access_token)).active
        assert old not in {key_id for _, key_id in await published(other)}
        tainted = (await signing_keys(other))["tainted"]
        assert (tainted.key_id, tainted.taint_revision) == (old, revision)
        assert tainted.taint_comment == "seen on a bill board"
        assert ("key.tainted", "root", f"{old}: seen on a bill board") in await audited(one)


async def _refused(service: Service, token: str) -> bool:
    return not (await service.introspect(token)).active


async def test_taint_without_a_next_key(service: Service) -> None:
    """Where the next key is distrusted too, a fresh one signs at once: never is there none."""
    before = await signing_keys(service)

    revisions = [await taint(service, before[state].key_id) for state in ("prepared", "active")]

    assert revisions == [1, 2]
    keys = await signing_keys(service)
    assert keys["active"].key_id not in {key.key_id for key in before.values()}
    assert await signs_with(service) == keys["active"].key_id


async def test_taint_of_odd_keys(service: Service) -> None:
    """To taint twice is to taint once; a key that is none is not found; a comment has an end."""
    active = (await signing_keys(service))["active"].key_id

    assert [await taint(service, active) for _ in range(2)] == [1, 1]
    assert await outcome(taint(service, "no such key")) == "NOT_FOUND"
    assert await outcome(taint(service, active, "x" * 300)) == "INVALID_REQUEST"
    assert await outcome(taint(service, "")) == "INVALID_REQUEST"


async def test_taint_reaches_followers(service: Service) -> None:
    """A follower of Watch gets the revocation, by the next number, and the key set without the key; so its verifier
    refuses the tokens of the tainted key, and knows those of the next, within a second."""
    verifier = Verifier(ISSUER, "orders", clock=service.clock)
    async with Watcher(service.address, service.keys["gateway"], verifier) as watcher:
        await watcher.ready()
        old = (await service.login()).tokens.access_token
        verifier.verify(old)

        revision = await taint(service, key_id_of(old))

        await watcher.revocations.wait_for_revision(revision, 1_000)
        with pytest.raises(TokenRejected):
            verifier.verify(old)
        new = (await service.login()).tokens.access_token
        assert verifier.verify(new).key_id != key_id_of(old)
        await until(lambda: _keys_lack(verifier, key_id_of(old)), within_s=1.0)


async def _keys_lack(verifier: Verifier, key_id: str) -> bool:
    return verifier.keys is not None and verifier.keys.get(key_id) is None


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_algorithms(sqlite_url: str, algorithm: str) -> None:
    """Each algorithm works from login to taint: what is signed with it is verified here, and by verifiers."""
    async with run_service(sqlite_url, "none", signing_algorithm=algorithm) as service:
        verifier = Verifier(ISSUER, "orders", clock=service.clock)
        async with Watcher(service.address, service.keys["gateway"], verifier) as watcher:
            await watcher.ready()
            first = (await service.login()).tokens.access_token
            service.clock.move(PUBLISH_AHEAD_MS)
            await rotate(service)
            second = (await service.login()).tokens.access_token

            assert {key.algorithm for key in (await signing_keys(service)).values()} == {algorithm}
            assert key_id_of(first) != key_id_of(second)
            assert verifier.verify(second).key_id == key_id_of(second)
            assert (await service.introspect(second)).active
            revision = await taint(service, key_id_of(second))
            await watcher.revocations.wait_for_revision(revision, 1_000)
            assert not (await service.introspect(second)).active
            with pytest.raises(TokenRejected):
                verifier.verify(second)


async def test_keys_that_settings_give(sqlite_url: str) -> None:
    """Keys given as PEM are the settings' to change: the first signs, the tokens of the others are believed."""
    first, second = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    pems = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in (first, second)]
    async with run_service(sqlite_url, "none", signing_key=SecretBytes(pems[0])) as service:
        token = (await service.login()).tokens.access_token
        refused = [await outcome(rotate(service)), await outcome(taint(service, key_id_of(token)))]

    other_block = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    moved = SecretBytes(pems[1] + b"\n" + other_block + pems[0])
    async with run_service(sqlite_url, "none", signing_key=moved) as service:
        service.user_ids["alice"] = "known"

        assert refused == ["SIGNING_KEYS_NOT_MANAGED", "SIGNING_KEYS_NOT_MANAGED"]
        assert (await service.introspect(token)).active
        assert await signs_with(service) != key_id_of(token)
        assert [state for state, _ in await published(service)] == ["active", "retiring"]


async def test_an_instance_that_cannot_open_the_key(
    sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance without the secret that the active key is sealed under issues nothing, rather than sign with one that
    has stopped: the refresh token that it is shown is not used up.

    Held by ensure_signer in Refresh.
    """
    clock = MovableClock()
    both = SecretBytes(b"n" * 40 + b"\n" + SECRET)
    async with (
        run_service(sqlite_url, valkey.url, clock) as behind,
        run_service(sqlite_url, valkey.url, clock, secret_keys=both) as ahead,
    ):
        monkeypatch.setattr(behind.app._signing_keys, "step", _leave_it)
        login = await behind.login()
        clock.move(ROTATION_MS)
        await ahead.app._signing_keys.step()  # what was prepared under the old secret signs …
        await ahead.app._signing_keys.step()
        clock.move(PUBLISH_AHEAD_MS)
        await rotate(ahead)  # … and what follows was prepared under the new one
        await soon(lambda: _cannot_sign(behind))

        refused = await refusal(behind.refresh(login.tokens.refresh_token))

        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert not (await ahead.refresh(login.tokens.refresh_token)).replayed


async def _leave_it() -> None:
    """In place of an instance's own steps: another one is to make them."""


async def _cannot_sign(service: Service) -> bool:
    return service.app._keys.ring.opened is None


async def test_a_stored_key_that_stopped_has_no_private_half(service: Service) -> None:
    """Once a key signs no more, nobody can sign with it: its private half is gone from the database."""
    service.clock.move(PUBLISH_AHEAD_MS)
    old = (await signing_keys(service))["active"].key_id
    await rotate(service)
    await taint(service, (await signing_keys(service))["active"].key_id)

    keys = await service.app.stores.keys.list(retired=True)

    sealed = {key.state.value: bool(key.sealed_private) for key in keys}
    assert sealed.pop("prepared", True)
    assert sealed == {"active": True, "retiring": False, "tainted": False}
    assert next(key.state.value for key in keys if key.id == old) == "retiring"


async def test_the_published_document_verifies(service: Service) -> None:
    """The JWK Set alone, as any library reads it, verifies a token before and after a rotation."""
    service.clock.move(PUBLISH_AHEAD_MS)
    tokens = [(await service.login()).tokens.access_token]
    await rotate(service)
    tokens.append((await service.login()).tokens.access_token)

    document = (await service.auth.GetKeySet(pb.GetKeySetRequest())).jwks

    keys = KeySet.from_jwks(document)
    for token in tokens:
        assert verify_access_token(token, keys, issuer=ISSUER, now=service.clock()).key_id == key_id_of(token)
