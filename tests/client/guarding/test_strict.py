"""Strict rules, and revisions that callers pass on: what may be answered from a view that is not fresh enough."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import Verifier
from authsvc_client.revision import MIN_REVISION_KEY
from tests.client.guarding.guarded import (
    KINDS,
    Counting,
    by,
    new_verifier,
    run_counting,
    run_guarded,
    session_token,
    token,
)
from tests.client.strict_minting import ISSUER, KEYS
from tests.parts.service import ISSUER as REAL_ISSUER
from tests.parts.service import Service, bearer, reason_of

STALE: dict[str, Any] = {"stale_after_ms": -1}


@pytest.fixture
async def counting() -> AsyncIterator[tuple[Counting, str]]:
    """An authsvc that counts, and where it is."""
    async with run_counting() as running:
        yield running


async def refusal(call: object) -> tuple[grpc.StatusCode, str]:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value.code(), reason_of(error.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fresh_view_asks_nobody(kind: str, counting: tuple[Counting, str]) -> None:
    """Within the bound a strict call costs no remote check."""
    async with run_guarded(kind, authsvc=counting[1]) as guarded:
        answer = await guarded.unary("Strict", by("ann"))

    assert answer == b"ann"
    assert counting[0].introspected == []


@pytest.mark.parametrize("kind", KINDS)
async def test_past_the_bound_authsvc_is_asked(kind: str, counting: tuple[Counting, str]) -> None:
    """A strict call past the bound is let in or refused as authsvc says; others go on by the view."""
    async with run_guarded(kind, authsvc=counting[1], **STALE) as guarded:
        good, bad = token("ann"), token("ben")
        counting[0].ended.add(bad)

        let_in = await guarded.unary("Strict", bearer(good))
        refused = await refusal(guarded.unary("Strict", bearer(bad)))
        asked = len(counting[0].introspected)
        best_effort = await guarded.unary("Unary", bearer(bad))

    assert let_in == b"ann"
    assert refused == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")
    assert best_effort == b"ben"
    assert asked == len(counting[0].introspected) == 2
    assert counting[0].introspected[0].audience == "orders"


@pytest.mark.parametrize("kind", KINDS)
async def test_past_the_bound_with_nobody_to_ask(kind: str) -> None:
    """Without a way to ask, or with an authsvc that is down, a strict call is UNAVAILABLE, never refused."""
    async with run_guarded(kind, **STALE) as alone, run_guarded(kind, authsvc="127.0.0.1:1", **STALE) as down:
        found = [await refusal(each.unary("Strict", by())) for each in (alone, down)]

    assert found == [
        (grpc.StatusCode.UNAVAILABLE, "VIEW_TOO_OLD"),
        (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_view_that_nothing_feeds_is_past_the_bound(kind: str) -> None:
    """A verifier without a watcher has never heard anything, which is not the same as hearing of no revocation."""
    async with run_guarded(kind, verifier=Verifier(ISSUER, "orders", keys=KEYS)) as guarded:
        found = await refusal(guarded.unary("Strict", by()))

    assert found == (grpc.StatusCode.UNAVAILABLE, "VIEW_TOO_OLD")


async def test_strict_calls_with_one_token_share_a_question(counting: tuple[Counting, str]) -> None:
    """While authsvc is being asked about a token, others with the same token wait for the same answer."""
    release = asyncio.Event()
    counting[0].before_answer = release.wait
    async with run_guarded("asyncio", authsvc=counting[1], **STALE) as guarded:
        mine = by("ann")
        calls = [asyncio.ensure_future(guarded.unary("Strict", mine)) for _ in range(20)]
        await asyncio.sleep(0.1)
        release.set()
        answers = await asyncio.gather(*calls)

    assert answers == [b"ann"] * 20
    assert len(counting[0].introspected) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_waits_for_its_revision(kind: str) -> None:
    """A call that names a revision is judged by a view at least as new: it sees the revocation it was told of."""
    verifier = new_verifier()
    async with run_guarded(kind, verifier=verifier) as guarded:
        text = token("ann")
        call = guarded.unary("Unary", [*bearer(text), (MIN_REVISION_KEY, "2")])
        other = guarded.unary("Unary", [*by("ben"), (MIN_REVISION_KEY, "2")])
        await asyncio.sleep(0.1)
        waits = not call.done()

        guarded.revoke("session-of-ann")
        verifier.revocations.reach(2)
        found, answer = await refusal(call), await other

    assert waits
    assert found == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")
    assert answer == b"ben"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revision_is_passed_on(kind: str) -> None:
    """What a handler calls in turn is asked to be as fresh; the next call starts from nothing."""
    async with run_guarded(kind) as guarded:
        answers = [await guarded.unary("Asked", [*by(), (MIN_REVISION_KEY, "1")])]
        answers.append(await guarded.unary("Asked", by()))

    assert answers == [b"1", b"0"]


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
async def test_a_revision_that_does_not_come(kind: str) -> None:
    """A revision that is not reached in time is UNAVAILABLE."""
    async with run_guarded(kind) as guarded:
        found = await refusal(guarded.unary("Unary", [*by(), (MIN_REVISION_KEY, "99")]))

    assert found == (grpc.StatusCode.UNAVAILABLE, "REVISION_NOT_REACHED")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["-1", "soon", "1.5", "9" * 19])
async def test_a_revision_is_a_number(kind: str, text: str) -> None:
    """What is no revision is the caller's mistake, and is said to be."""
    async with run_guarded(kind) as guarded:
        found = await refusal(guarded.unary("Unary", [*by(), (MIN_REVISION_KEY, text)]))

    assert found == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revision_of_a_session_is_authsvcs_matter(kind: str, counting: tuple[Counting, str]) -> None:
    """A session token that comes with a revision is asked about alone: others must not wait for it."""
    async with run_guarded(kind, authsvc=counting[1]) as guarded:
        mine = [*bearer(session_token(7)), (MIN_REVISION_KEY, "99")]
        answers = await asyncio.gather(*(guarded.unary("Unary", mine) for _ in range(2)))

    assert answers == [b"user-7"] * 2
    assert counting[0].batches == [[session_token(7)]] * 2


@pytest.mark.parametrize("kind", KINDS)
async def test_reading_ones_own_revocation(kind: str, service: Service) -> None:
    """Revoke at a real authsvc, pass the revision on, and the guarded call knows, though no watcher runs here."""
    login = await service.login(audiences=["orders"])
    key_set = await service.auth.GetKeySet(pb.GetKeySetRequest())
    verifier = Verifier(REAL_ISSUER, "orders", keys=KEYS.from_jwks(key_set.jwks))
    mine = bearer(login.tokens.access_token)
    async with run_guarded(
        kind, verifier=verifier, authsvc=service.address, key=service.keys["gateway"]
    ) as guarded:
        await guarded.unary("Strict", mine)
        revoked = await service.auth.Revoke(
            pb.RevokeRequest(token=login.session_token), metadata=service.by("web")
        )
        found = await refusal(guarded.unary("Unary", [*mine, (MIN_REVISION_KEY, str(revoked.revision))]))

    assert found == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")
