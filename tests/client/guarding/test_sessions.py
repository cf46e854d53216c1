"""Session tokens are checked at authsvc, many in one call, and each caller gets the answer to its own question."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import PlaintextRefused, RemoteChecks, SyncRemoteChecks
from authsvc_client.guarding.refusals import Refused
from tests.client.guarding.guarded import (
    KINDS,
    Counting,
    Guarded,
    new_verifier,
    run_counting,
    run_guarded,
    session_token,
    until,
)
from tests.parts.service import Service, bearer, reason_of

BOTH = ("asyncio", "threads")


@pytest.fixture
async def counting() -> AsyncIterator[tuple[Counting, str]]:
    """An authsvc that counts, and where it is."""
    async with run_counting() as running:
        yield running


@pytest.fixture(params=KINDS)
async def guarded(request: pytest.FixtureRequest, counting: tuple[Counting, str]) -> AsyncIterator[Guarded]:
    """A guarded server of each kind that asks the counting authsvc."""
    async with run_guarded(request.param, authsvc=counting[1]) as running:
        yield running


async def refusal(call: object) -> tuple[grpc.StatusCode, str]:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value.code(), reason_of(error.value)


async def test_many_share_a_call(counting: tuple[Counting, str], guarded: Guarded) -> None:
    """128 at once are asked about in a few calls, each is answered for its own session, none is asked twice."""
    calls = [guarded.unary("Unary", bearer(session_token(number))) for number in range(128)]

    answers = await asyncio.gather(*calls)

    assert [answer.decode() for answer in answers] == [f"user-{number}" for number in range(128)]
    batches = counting[0].batches
    assert len(batches) <= 128 / 3
    assert sorted(text for batch in batches for text in batch) == [
        session_token(number) for number in range(128)
    ]


async def test_one_token_many_times_is_one_question(counting: tuple[Counting, str]) -> None:
    """Callers of one tick with the same token share one place in the batch."""
    remote = RemoteChecks(counting[1], "key")

    found = await asyncio.gather(*(remote.validate(session_token(7)) for _ in range(500)))

    assert {each.user_id for each in found} == {"user-7"}
    assert counting[0].batches == [[session_token(7)]]
    await remote.close()


async def test_a_tick_is_one_call_and_a_full_batch_another(counting: tuple[Counting, str]) -> None:
    """All who ask in one tick share calls of at most 256."""
    remote = RemoteChecks(counting[1], "key")

    await asyncio.gather(*(remote.validate(session_token(number)) for number in range(300)))

    # They are under way together, so either may arrive first.
    assert sorted(len(batch) for batch in counting[0].batches) == [44, 256]
    await remote.close()


async def test_threads_share_calls(counting: tuple[Counting, str]) -> None:
    """100 threads at once are asked about in a few calls, each answered for its own session."""
    remote = SyncRemoteChecks(counting[1], "key", timeout_ms=10_000)
    ask = asyncio.to_thread

    found = await asyncio.gather(*(ask(remote.validate, session_token(number)) for number in range(100)))

    assert [each.user_id for each in found] == [f"user-{number}" for number in range(100)]
    assert len(counting[0].batches) <= 100 / 2
    remote.close()


async def test_never_anothers_principal_whoever_gives_up(counting: tuple[Counting, str]) -> None:
    """Callers cancelled at random moments change nothing for the others: each gets its own session or none."""
    authsvc, chance = counting[0], random.Random(7)
    remote = RemoteChecks(counting[1], "key", gather_ms=1, timeout_ms=30_000)
    authsvc.before_answer = lambda: asyncio.sleep(chance.random() / 200)
    authsvc.ended = {session_token(number) for number in range(0, 400, 7)}

    async def ask(number: int) -> str:
        try:
            async with asyncio.timeout(chance.random() / 50 if number % 3 == 0 else None):
                return (await remote.validate(session_token(number))).user_id
        except TimeoutError:
            return "gave up"
        except Refused as refused:
            return refused.reason

    async def later(number: int) -> str:
        await asyncio.sleep(chance.random() / 10)
        return await ask(number)

    found = await asyncio.gather(*(later(number % 400) for number in range(2_000)))

    right = [("SESSION_NOT_ACTIVE" if number % 7 == 0 else f"user-{number}") for number in range(400)]
    wrong = [each for at, each in enumerate(found) if each not in (right[at % 400], "gave up")]
    assert wrong == []
    assert "gave up" in found
    await remote.close()


@pytest.mark.parametrize("fault", ["inactive", "unknown text"])
async def test_what_is_not_active_is_refused(
    counting: tuple[Counting, str], guarded: Guarded, fault: str
) -> None:
    """A session that has ended is refused, alike for every text; one that cannot be a token is not even sent."""
    counting[0].ended.add(session_token(7))
    text = session_token(7) if fault == "inactive" else "ats_no token"

    found = await refusal(guarded.unary("Unary", bearer(text)))

    assert found == (grpc.StatusCode.UNAUTHENTICATED, "SESSION_NOT_ACTIVE")
    assert len(counting[0].batches) == (fault == "inactive")


async def test_a_text_that_is_no_token_spoils_no_batch(counting: tuple[Counting, str]) -> None:
    """Whatever callers make up, others in the same tick are answered."""
    remote = RemoteChecks(counting[1], "key")
    texts = ["ats_", "ats_" + "x" * 60_000, "ats_é", session_token(7)]

    found = await asyncio.gather(*map(remote.validate, texts), return_exceptions=True)

    assert [type(each).__name__ for each in found] == ["Refused", "Refused", "Refused", "Principal"]
    await remote.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")),
        (grpc.StatusCode.INTERNAL, (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")),
        (grpc.StatusCode.UNAUTHENTICATED, (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")),
        (grpc.StatusCode.PERMISSION_DENIED, (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")),
    ],
)
async def test_an_error_of_authsvc_is_never_a_refusal(
    counting: tuple[Counting, str],
    guarded: Guarded,
    status: grpc.StatusCode,
    expected: tuple[grpc.StatusCode, str],
) -> None:
    """Whatever goes wrong with asking, and even if our own key is refused, nobody is logged out by it."""
    counting[0].fails_with = status

    found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == expected


async def test_details_that_cannot_be_read_are_none(counting: tuple[Counting, str], guarded: Guarded) -> None:
    """An error whose details are no details is an error like any other."""
    counting[0].fails_with = grpc.StatusCode.UNAVAILABLE
    counting[0].details = (("grpc-status-details-bin", b"\xff\xff\xff"),)

    found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_down_logs_nobody_out(kind: str) -> None:
    """Without a server the answer is UNAVAILABLE, and tokens that need no server are served."""
    async with run_guarded(kind, authsvc="127.0.0.1:1") as guarded:
        found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


@pytest.mark.parametrize("kind", BOTH)
async def test_a_server_that_hangs_is_given_up(kind: str, counting: tuple[Counting, str]) -> None:
    """An authsvc that does not answer makes nobody wait longer than the time-out."""
    counting[0].before_answer = asyncio.Event().wait
    async with run_guarded(kind, authsvc=counting[1], remote={"timeout_ms": 100}) as guarded:
        found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


async def test_answers_that_do_not_fit_are_none(counting: tuple[Counting, str], guarded: Guarded) -> None:
    """One result too few, and nobody of the batch is let in: whose is missing cannot be told."""
    counting[0].drops_last = True

    found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


async def test_what_piles_up_is_bounded(counting: tuple[Counting, str]) -> None:
    """Behind an authsvc that hangs only so many wait; whoever comes on top is told at once that it is too much."""
    counting[0].before_answer = asyncio.Event().wait
    remote = RemoteChecks(counting[1], "key", batch_limit=4, timeout_ms=500)

    found = await asyncio.gather(
        *(remote.validate(session_token(number)) for number in range(100)), return_exceptions=True
    )

    reasons = [each.reason for each in found if isinstance(each, Refused)]
    assert reasons.count("OVERLOADED") == 100 - 9 * 4
    assert reasons.count("DEPENDENCY_UNAVAILABLE") == 9 * 4
    await remote.close()


async def test_a_session_for_others_is_not_for_here(counting: tuple[Counting, str], guarded: Guarded) -> None:
    """A session whose tokens may not be minted for this audience may not call here by its session token either."""
    counting[0].audiences = ["billing"]

    found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_PERMITTED")


async def test_scopes_of_a_session_are_asked_for_too(guarded: Guarded) -> None:
    """A session token opens no method that its session's scopes do not."""
    found = await refusal(guarded.unary("Scoped", bearer(session_token(7))))

    assert found == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_INSUFFICIENT")


async def test_a_revocation_heard_meanwhile_counts(counting: tuple[Counting, str], guarded: Guarded) -> None:
    """An answer that was overtaken by a revocation lets nobody in."""
    guarded.revoke("session-of-user-7")

    found = await refusal(guarded.unary("Unary", bearer(session_token(7))))

    assert found == (grpc.StatusCode.UNAUTHENTICATED, "SESSION_NOT_ACTIVE")


@pytest.mark.parametrize("kind", BOTH)
async def test_an_answer_is_reused_for_a_moment(kind: str, counting: tuple[Counting, str]) -> None:
    """With `reuse_ms` an active session is believed again without asking, unless the view revokes it meanwhile."""
    async with run_guarded(kind, authsvc=counting[1], remote={"reuse_ms": 5_000}) as guarded:
        mine = bearer(session_token(7))
        await guarded.unary("Unary", mine)
        await guarded.unary("Unary", mine)
        asked = len(counting[0].batches)

        guarded.revoke("session-of-user-7")
        found = await refusal(guarded.unary("Unary", mine))

    assert asked == 1
    assert found[1] == "SESSION_NOT_ACTIVE"


@pytest.mark.parametrize("kind", BOTH)
async def test_nothing_is_reused_unless_revocations_are_heard(
    kind: str, counting: tuple[Counting, str]
) -> None:
    """A remembered answer is worth only what the view can vouch for: strict rules and an old view always ask."""
    async with (
        run_guarded(kind, authsvc=counting[1], remote={"reuse_ms": 5_000}, stale_after_ms=-1) as stale,
        run_guarded(kind, authsvc=counting[1], remote={"reuse_ms": 5_000}) as fresh,
    ):
        for _ in range(2):
            await stale.unary("Unary", bearer(session_token(7)))
            await fresh.unary("Strict", bearer(session_token(8)))

    assert len(counting[0].batches) == 4


@pytest.mark.parametrize("reuse_ms", [-1, 5_001])
def test_answers_are_not_reused_for_longer_than_a_view_may_be_old(reuse_ms: int) -> None:
    """A memory beyond the staleness bound would outlive what can be known."""
    with pytest.raises(ValueError, match="reused"):
        SyncRemoteChecks("127.0.0.1:1", "key", reuse_ms=reuse_ms)


@pytest.mark.parametrize("kind", KINDS)
async def test_real_sessions(kind: str, service: Service) -> None:
    """Against a real authsvc: a session token is let in, and after logout it is not."""
    login = await service.login()
    verifier = new_verifier()
    mine = bearer(login.session_token)
    async with run_guarded(
        kind, verifier=verifier, authsvc=service.address, key=service.keys["gateway"]
    ) as guarded:
        user = await guarded.unary("Scoped", mine)
        await service.auth.Revoke(pb.RevokeRequest(token=login.session_token), metadata=service.by("web"))
        found = await refusal(guarded.unary("Scoped", mine))

    assert user.decode() == service.user_ids["alice"]
    assert found == (grpc.StatusCode.UNAUTHENTICATED, "SESSION_NOT_ACTIVE")


async def test_cancelled_callers_leave_nothing_behind(
    counting: tuple[Counting, str], guarded: Guarded
) -> None:
    """A caller that goes while its session is being asked about changes nothing for the next."""
    release = asyncio.Event()
    counting[0].before_answer = release.wait
    call = guarded.unary("Unary", bearer(session_token(7)))
    await until(lambda: len(counting[0].batches) == 1)

    call.cancel()
    release.set()
    answer = await guarded.unary("Unary", bearer(session_token(8)))

    assert answer == b"user-8"


_FORKING = """
import os, sys
from authsvc_client import SyncRemoteChecks
from tests.client.guarding.guarded import session_token

checks = SyncRemoteChecks(sys.argv[1], "key", timeout_ms=10_000)
checks._line().batches._lock.acquire()  # as if another thread were just asking
child = os.fork()
if child == 0:
    os._exit(0 if checks.validate(session_token(7)).user_id == "user-7" else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


async def test_a_forked_process_asks_for_itself(counting: tuple[Counting, str]) -> None:
    """Checks made before a fork work in the child, whatever the parent's threads were doing at that moment."""
    command = [sys.executable, "-c", _FORKING, counting[1]]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(["clients/python", "."]),
        "GRPC_VERBOSITY": "NONE",
    }

    process = await asyncio.create_subprocess_exec(*command, env=environment)

    async with asyncio.timeout(30):
        assert await process.wait() == 0


def test_a_key_does_not_travel_in_the_open() -> None:
    """A key is not sent over plaintext to another host unless that was said to be meant."""
    with pytest.raises(PlaintextRefused):
        SyncRemoteChecks("auth.example.com:80", "key")
    with pytest.raises(PlaintextRefused):
        RemoteChecks("auth.example.com:80", "key")
    SyncRemoteChecks("auth.example.com:80", "key", unsafe_plaintext=True)
