"""What bounds a call: its deadline, its size, how many there are; and what is finished all the same."""

import asyncio
from contextlib import nullcontext, suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc.app import AddressTaken
from authsvc.core.model import AuditEvent
from authsvc.rpc.interceptors import deadline
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import PASSWORD, Service, outcome, reason_of, refusal, retry_seconds_of, run_service
from tests.parts.valkey import until


class Gate:
    """A store's method that waits until it is opened, before it does anything or `after`; and how many wait there."""

    def __init__(self, inner: Any, after: bool) -> None:
        self._inner = inner
        self._after = after
        self._open = asyncio.Event()
        self.waiting = 0

    async def __call__(self, *args: Any, **named: Any) -> Any:
        result = await self._inner(*args, **named) if self._after else None
        self.waiting += 1
        await self._open.wait()
        return result if self._after else await self._inner(*args, **named)

    def open(self) -> None:
        """Let all go on."""
        self._open.set()

    async def reached(self, count: int = 1) -> bool:
        """Whether so many have come."""
        return self.waiting >= count


def gate(monkeypatch: pytest.MonkeyPatch, owner: object, method: str, after: bool = False) -> Gate:
    """Put a gate before a method, or behind it."""
    placed = Gate(getattr(owner, method), after)
    monkeypatch.setattr(owner, method, placed)
    return placed


async def test_call_without_deadline_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that brings no deadline, as browsers' calls, ends after its row's default with a word to come back."""
    login = await service.login()
    hung = gate(monkeypatch, service.app.stores.sessions, "get_refresh")

    error = await refusal(service.introspect(login.tokens.refresh_token))

    hung.open()
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert retry_seconds_of(error) == 1.0


async def test_deadline_beyond_reason(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a call that brings a deadline of hours."""
    login = await service.login()
    hung = gate(monkeypatch, service.app.stores.sessions, "get_refresh")
    request = pb.IntrospectRequest(token=login.tokens.refresh_token)

    call = service.auth.Introspect(request, metadata=service.by("gateway"), timeout=deadline.LONGEST_MS * 60)

    assert await outcome(call) == "DEPENDENCY_UNAVAILABLE"
    hung.open()


async def test_caller_gone_midway(service_on_each: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that was begun is finished though its caller has gone: committed, in the view, out of the cache."""
    service = service_on_each
    login = await service.login()
    sessions = service.app.stores.sessions
    held = gate(monkeypatch, sessions, "revoke")
    request = pb.RevokeRequest(token=login.session_token)

    call = service.auth.Revoke(request, metadata=service.by("web"))
    await until(held.reached, within_s=5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    held.open()

    async def refused() -> bool:
        return await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"

    await until(refused, within_s=5)
    assert not (await service.introspect(login.tokens.access_token)).active


async def test_refresh_whose_caller_has_gone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh whose answer nobody waited for is a lost reply: the same token gets the successor."""
    login = await service.login()
    held = gate(monkeypatch, service.app.stores.sessions, "rotate", after=True)
    request = pb.RefreshRequest(refresh_token=login.tokens.refresh_token)

    call = service.auth.Refresh(request, metadata=service.by("web"), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call
    held.open()
    await service.app._shield.drain()
    again = await service.refresh(login.tokens.refresh_token)

    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert again.replayed


async def test_what_nobody_waits_for_is_not_begun(
    service_on_each: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that had not begun when its caller's time was up is left: a slow store has enough to catch up with.

    Guarded by core.patience.is_over, which Pool asks before it hands a connection out.
    """
    service = service_on_each
    login = await service.login()
    held = gate(monkeypatch, service.app.stores.sessions, "rotate")
    request = pb.RefreshRequest(refresh_token=login.tokens.refresh_token)

    with pytest.raises(grpc.aio.AioRpcError):
        await service.auth.Refresh(request, metadata=service.by("web"), timeout=0.3)
    held.open()
    await service.app._shield.drain()

    assert not (await service.refresh(login.tokens.refresh_token)).replayed


async def test_accepted_calls_finish(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that stops finishes the calls that it has begun."""
    async with run_service(sqlite_url, "none") as service:
        login = await service.login()
        held = gate(monkeypatch, service.app.stores.sessions, "rotate")
        call = asyncio.create_task(service.refresh(login.tokens.refresh_token))
        await until(held.reached, within_s=5)
        stopping = asyncio.create_task(service.app.stop())
        await asyncio.sleep(0.05)
        held.open()

        assert (await call).tokens.refresh_token
        await stopping


async def test_nothing_runs_on(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an instance has stopped nothing of it runs any more, not even what its last look at the log began."""
    async with run_service(sqlite_url, "none") as service:
        await service.app._tail.poll()
        held = gate(monkeypatch, service.app.stores.log, "position")
        revoked = AuditEvent("client.revoked", service.clock())
        await service.app.stores.clients.revoke("app", service.clock(), revoked)
        service.app._tail.hint()
        await until(held.reached, within_s=5)
        stopping = asyncio.create_task(service.app.stop())
        await asyncio.sleep(0.2)
        held.open()

        await stopping

        ours = [task for task in asyncio.all_tasks() if "/authsvc/" in repr(task)]
        assert ours == []


async def test_cancelled_readers_do_not_mix_answers(service: Service) -> None:
    """Callers that go away midway never make another get somebody else's answer."""
    logins = [await service.login(f"user{number}") for number in range(8)]

    async def one(number: int, impatient: bool) -> None:
        login = logins[number % len(logins)]
        request = pb.ValidateSessionRequest(session_token=login.session_token)
        timeout = 0.002 if impatient else 5
        with suppress(grpc.aio.AioRpcError) if impatient else nullcontext():
            found = await service.auth.ValidateSession(
                request, metadata=service.by("gateway"), timeout=timeout
            )
            assert found.session.id == login.session.id

    await asyncio.gather(*(one(number, number % 3 == 0) for number in range(300)))


async def test_message_too_large(service: Service) -> None:
    """A message above 64 KiB is refused before it is read."""
    request = pb.LoginRequest(username="alice", password="a" * 65 * 1024)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.auth.Login(request, metadata=service.by("web"))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_too_large(service: Service) -> None:
    """Metadata above 12 KiB are refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.auth.GetKeySet(pb.GetKeySetRequest(), metadata=(("x-large", "a" * 13 * 1024),))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_largest_batch_fits(service: Service) -> None:
    """A batch of 256 tokens of the largest kind fits into a message."""
    login = await service.login()
    tokens = [login.session_token, *["atr_" + "A" * 84] * 255]
    request = pb.BatchValidateSessionsRequest(session_tokens=tokens)

    found = await service.auth.BatchValidateSessions(request, metadata=service.by("gateway"))

    assert [result.active for result in found.results] == [True] + [False] * 255


async def test_overload(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many calls under way the next is refused at once, with a word on when to come back: first what can
    wait, last what other services wait for; and what ends something still gets through.

    Guarded by the shares in rpc.interceptors.shed and the rows in rpc.policy.
    """
    async with run_service(sqlite_url, "none", calls_at_once=10) as service:
        login, ended = await service.login(), await service.login()
        introspecting = gate(monkeypatch, service.app.stores.sessions, "get_refresh")
        validating = gate(monkeypatch, service.app.stores.sessions, "get_by_session_hash")
        can_wait = [asyncio.create_task(service.introspect(login.tokens.refresh_token)) for _ in range(8)]
        await until(lambda: introspecting.reached(8), within_s=5)
        await refusal(service.introspect(login.tokens.refresh_token))
        checks = [asyncio.create_task(service.validate(login.session_token)) for _ in range(2)]
        await until(validating.reached, within_s=5)

        error = await refusal(service.validate(login.session_token))
        revoked = await service.revoke(token=ended.tokens.refresh_token)
        introspecting.open()
        validating.open()
        answers = await asyncio.gather(*can_wait, *checks)

        assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert retry_seconds_of(error) > 0
        assert revoked.revoked_count == 1
        assert all(answer.active for answer in answers[:8])
        assert await outcome(service.validate(login.session_token)) == "OK"


async def test_bulkhead(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cold cache only so many reads of SQL wait; whoever comes on top is refused, never told "not active"."""
    async with run_service(sqlite_url, "none") as service:
        logins = [await service.login(f"user{number}") for number in range(3)]
        monkeypatch.setattr("authsvc.core.validate.SQL_READS_AT_ONCE", 1)
        monkeypatch.setattr("authsvc.core.validate.SQL_READS_WAITING", 1)
        held = gate(monkeypatch, service.app.stores.sessions, "get_by_session_hash")
        waiting = [asyncio.create_task(service.validate(login.session_token)) for login in logins[:2]]
        await until(held.reached, within_s=5)

        validated = await outcome(service.validate(logins[2].session_token))
        metadata = (("authorization", f"Bearer {logins[2].session_token}"),)
        called = await outcome(service.auth.ListSessions(pb.ListSessionsRequest(), metadata=metadata))
        held.open()

        assert [(await call).session.id for call in waiting] == [login.session.id for login in logins[:2]]
        assert (validated, called) == ("OVERLOADED", "OVERLOADED")


async def test_address_in_use(
    service: Service, tmp_path_factory: pytest.TempPathFactory, sqlite_url: str
) -> None:
    """A second server on the same address does not start, silently sharing it; it says that the address is taken."""
    with pytest.raises(AddressTaken, match=service.address):
        async with run_service(sqlite_url, "none", listen=service.address):
            pass


async def test_every_status_has_a_reason(service: Service) -> None:
    """Each refusal carries ErrorInfo under the issuer's host."""
    request = pb.LoginRequest(username="nobody", password=PASSWORD)

    error = await refusal(service.auth.Login(request, metadata=service.by("web")))

    assert b"auth.example.com" in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
