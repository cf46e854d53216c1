"""Every guarded call is judged before its handler runs, whatever its shape and whatever runs the handler."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from authsvc_client import Verifier
from authsvc_client.guarding.principal import set_current
from tests.client.guarding.guarded import KINDS, SHAPES, Clock, Guarded, by, run_guarded, token
from tests.client.strict_minting import ISSUER, KEYS
from tests.parts.service import bearer, reason_of


@pytest.fixture(params=KINDS)
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Guarded]:
    """A guarded server of each kind."""
    async with run_guarded(request.param) as running:
        yield running


async def refused(call: object) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_handler_knows_whom_it_is_called_for(guarded: Guarded, shape: str) -> None:
    """Each of the four shapes runs for the user of its token."""
    users = [await guarded.user_by(shape, by(user_id)) for user_id in ("ann", "ben", "ann")]

    assert users == ["ann", "ben", "ann"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_no_shape_gets_through_without_a_token(guarded: Guarded, shape: str) -> None:
    """Each of the four shapes is refused when there is no token."""
    error = await refused(_read(guarded, shape))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")


async def _read(guarded: Guarded, shape: str) -> object:
    match shape:
        case "Unary":
            return await guarded.unary("Unary")
        case "Stream":
            return await guarded.stream("Stream").read()
        case "Collect":
            return await guarded.collect(None)
    # Without requests: grpc.aio turns the status of a call that ends while it writes into INTERNAL (grpc#36066).
    return await guarded.chat(None).read()


async def test_a_stream_of_requests_is_refused_before_the_first_one(guarded: Guarded) -> None:
    """A refusal waits for no request: who never sends one holds nothing open."""
    collect: Any = guarded.channel.stream_unary("/tests.Guarded/Collect")
    call = collect(timeout=10)

    error = await refused(call)

    assert reason_of(error) == "CREDENTIALS_MISSING"


async def test_what_has_no_rule_nobody_may_call(guarded: Guarded) -> None:
    """Deny by default: a method that the policy does not name is refused even with a good token."""
    error = await refused(guarded.unary("Unruled", by()))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_PERMITTED")


async def test_what_is_not_there_is_unimplemented(guarded: Guarded) -> None:
    """A method that the server does not have is gRPC's own matter."""
    error = await refused(guarded.unary("Nowhere", by()))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_public_method_has_no_principal(guarded: Guarded) -> None:
    """A public method runs for nobody, even if a token was sent, and after a call for somebody."""
    await guarded.unary("Unary", by("ann"))

    answers = [await guarded.unary("Open"), await guarded.unary("Open", by("ann"))]

    assert answers == [b"nobody", b"nobody"]


async def test_every_scope_of_the_rule_is_needed(guarded: Guarded) -> None:
    """One missing scope refuses, and the details say which are needed."""
    error = await refused(guarded.unary("Scoped", by(scope="orders.read")))
    let_in = await guarded.unary("Scoped", by("ann", scope="orders.write orders.read more"))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_INSUFFICIENT")
    assert _info(error).metadata == {"scope": "orders.read orders.write"}
    assert let_in == b"ann"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"life_s": -60}, "ACCESS_TOKEN_EXPIRED"),
        ({"aud": "billing"}, "ACCESS_TOKEN_INVALID"),
        ({"iss": "https://other.example"}, "ACCESS_TOKEN_INVALID"),
        ({"exp": "soon"}, "ACCESS_TOKEN_INVALID"),
    ],
)
async def test_a_bad_token_is_refused(guarded: Guarded, changes: dict[str, Any], reason: str) -> None:
    """Each fault of a token has its reason."""
    now = Clock()() // 1000
    given = {"iat": now - 400} | changes if "life_s" in changes else changes

    error = await refused(guarded.unary("Unary", by(**given)))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_a_revoked_session_is_refused(guarded: Guarded) -> None:
    """A token that passed a moment ago is refused once its session's revocation has been heard."""
    mine = by("ann")
    await guarded.unary("Unary", mine)

    guarded.revoke("session-of-ann")
    error = await refused(guarded.unary("Unary", mine))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([("authorization", "Basic YTpi")], "CALLER_UNAUTHENTICATED"),
        ([("authorization", "Bearer ")], "CALLER_UNAUTHENTICATED"),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], "CALLER_UNAUTHENTICATED"),
        ([("authorization", "Bearer atr_" + "a" * 124)], "ACCESS_TOKEN_INVALID"),
        ([("authorization", "Bearer atc_" + "a" * 56)], "ACCESS_TOKEN_INVALID"),
        ([("authorization", "Bearer ats_" + "a" * 56)], "CALLER_UNAUTHENTICATED"),
        ([("authorization", "Bearer a.b.c")], "ACCESS_TOKEN_INVALID"),
    ],
)
async def test_what_is_no_token_for_here_is_refused(
    guarded: Guarded, metadata: list[tuple[str, str]], reason: str
) -> None:
    """Other schemes, doubled headers, other kinds of token, and session tokens where nobody can check them."""
    error = await refused(guarded.unary("Unary", metadata))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_the_domain_is_the_issuers_host(guarded: Guarded) -> None:
    """ErrorInfo names who speaks, and nothing of the token."""
    error = await refused(guarded.unary("Unary"))

    assert _info(error).domain == "auth.example"


def _info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    trailing: Any = error.trailing_metadata() or ()
    raw = next(value for key, value in trailing if key == "grpc-status-details-bin")
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(raw).details[0].Unpack(info)
    return info


@pytest.mark.parametrize("kind", KINDS)
async def test_without_keys_nothing_is_known(kind: str) -> None:
    """Before there is a key set the answer is UNAVAILABLE, with when to try again: nobody is logged out by a start."""
    async with run_guarded(kind, verifier=Verifier(ISSUER, "orders")) as guarded:
        error = await refused(guarded.unary("Unary", by()))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


async def test_a_defect_lets_nobody_in(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw refuses the call, and its text stays here."""

    class Broken:
        def revokes(self, _token: object) -> bool:
            raise ValueError("a secret text")

    guarded.verifier.revocations = Broken()  # type: ignore[assignment]
    error = await refused(guarded.unary("Unary", by()))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(error.details())
    assert token() not in caplog.text


async def test_many_at_once_are_each_handled_for_their_own(guarded: Guarded) -> None:
    """No principal leaks from one call to another, however they overlap."""
    names = [f"user-{number}" for number in range(100)]

    answers = await asyncio.gather(*(guarded.unary("Unary", by(name)) for name in names))

    assert [answer.decode() for answer in answers] == names


async def test_a_call_without_a_token_after_one_with(guarded: Guarded) -> None:
    """What one call was let in with lets in no other."""
    await guarded.unary("Unary", by("ann"))

    error = await refused(guarded.unary("Unary"))

    assert reason_of(error) == "CREDENTIALS_MISSING"


async def test_bearer_is_read_in_any_case(guarded: Guarded) -> None:
    """Schemes ignore case (RFC 9110 §11.1)."""
    answer = await guarded.unary("Unary", [("authorization", f"bEARER {token('ann')}")])

    assert answer == b"ann"
    assert bearer("x") == (("authorization", "Bearer x"),)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_started_for_somebody_serves_nobody(kind: str) -> None:
    """Whose context a server happens to be started in is nobody's business later."""
    set_current(Verifier(ISSUER, "orders", keys=KEYS).verify(token("ann")))
    async with run_guarded(kind) as guarded:
        answers = [await guarded.unary("Open"), await guarded.unary("Unary", by("ben"))]

    assert answers == [b"nobody", b"ben"]
