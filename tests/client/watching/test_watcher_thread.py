"""The watcher on threads of its own, and the one of each issuer in a process."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from authsvc_client import PlaintextRefused, Verifier, WatcherThread, shared_watcher
from authsvc_client.strict import Key, KeySet, TokenRevoked, UnknownKey
from authsvc_client.verifying import KeyRefresh, KeySourceFailed, RevisionNotReached
from authsvc_client.watching import KeySetCall, stop_shared_watchers
from tests.client.strict_minting import JWK
from tests.client.watching.watched import SESSION_AUDIENCE, logged_in, revoke
from tests.parts.cutting import cutting
from tests.parts.service import ISSUER, Service


@pytest.fixture
def verifier(service: Service) -> Verifier:
    """A verifier for one of the service's audiences that nobody feeds yet."""
    return Verifier(ISSUER, SESSION_AUDIENCE, clock=service.clock)


@pytest.fixture
async def watcher(service: Service, verifier: Verifier) -> AsyncIterator[WatcherThread]:
    """A watcher that feeds `verifier` and has heard a complete view."""
    running = WatcherThread(service.address, service.keys["gateway"], verifier)
    running.start()
    await asyncio.to_thread(running.ready)
    yield running
    await asyncio.to_thread(running.stop)


@pytest.fixture
def _no_shared() -> Iterator[None]:
    """Shared watchers end with the test."""
    yield
    stop_shared_watchers()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something in the background makes it true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  a thread in the background changes it
            await asyncio.sleep(0.005)


async def test_revocation_is_heard(service: Service, watcher: WatcherThread, verifier: Verifier) -> None:
    """Keys come with the stream; a token that passed is refused once its revocation has been heard."""
    login = await logged_in(service)
    verifier.verify(login.tokens.access_token)

    revision = await revoke(service, login.session.id)
    await asyncio.to_thread(watcher.wait_for_revision, revision)

    with pytest.raises(TokenRevoked):
        verifier.verify(login.tokens.access_token)


async def test_subscribers_hear_it_on_the_watchers_thread(service: Service, watcher: WatcherThread) -> None:
    """Who subscribed is told of the session, by a thread that is not the caller's."""
    login = await logged_in(service)
    told: list[tuple[frozenset[str] | None, str]] = []
    watcher.revocations.subscribe(lambda ids: told.append((ids, threading.current_thread().name)))

    revision = await revoke(service, login.session.id)
    await watcher.revocations.wait_for_revision(revision, 5_000)

    assert told == [(frozenset({login.session.id}), "authsvc-watcher")]


async def test_cut_stream_is_resumed(service: Service, verifier: Verifier) -> None:
    """What is revoked while the stream is cut is heard after it, without another snapshot."""
    login = await logged_in(service)
    async with cutting(service.app.port) as wire:
        watcher = WatcherThread(wire.address, service.keys["gateway"], verifier)
        watcher.start()
        await asyncio.to_thread(watcher.ready)
        heard = await revoke(service, (await logged_in(service)).session.id)
        await watcher.revocations.wait_for_revision(heard, 10_000)
        told: list[frozenset[str] | None] = []
        watcher.revocations.subscribe(told.append)
        wire.cut()
        revision = await revoke(service, login.session.id)
        await watcher.revocations.wait_for_revision(revision, 10_000)
        await asyncio.to_thread(watcher.stop)

    assert frozenset({login.session.id}) in told
    assert None not in told


async def test_silent_stream_is_left(
    service: Service, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stays open but carries nothing is given up for a new one, which hears what was missed."""
    monkeypatch.setattr("authsvc_client.watching.watcher_thread.SILENCE_MS", 1_300)
    login = await logged_in(service)
    async with cutting(service.app.port) as wire:
        watcher = WatcherThread(wire.address, service.keys["gateway"], verifier)
        watcher.start()
        await asyncio.to_thread(watcher.ready)
        wire.hold()
        revision = await revoke(service, login.session.id)
        await until(lambda: wire.connections == 2)
        aged = watcher.revocations.age_ms()
        wire.release()
        await watcher.revocations.wait_for_revision(revision, 10_000)
        await asyncio.to_thread(watcher.stop)

    assert aged >= 1_300


async def test_stopped_and_started_again(
    service: Service, watcher: WatcherThread, verifier: Verifier
) -> None:
    """A watcher that was stopped goes on, when started again, from where it stood."""
    login = await logged_in(service)
    await asyncio.to_thread(watcher.stop)
    revision = await revoke(service, login.session.id)

    watcher.start()
    await asyncio.to_thread(watcher.ready)

    assert verifier.revocations.revision == revision


async def test_waiting_in_vain(watcher: WatcherThread) -> None:
    """A revision that nobody has made yet is 'not known' after the time given."""
    with pytest.raises(RevisionNotReached):
        await asyncio.to_thread(watcher.wait_for_revision, watcher.revocations.revision + 1, 20)


def test_not_ready_without_a_server() -> None:
    """A service can start while authsvc is away; whoever wants to wait is told, and stopping takes no time."""
    with (
        WatcherThread("127.0.0.1:1", "key", Verifier(ISSUER, SESSION_AUDIENCE)) as watcher,
        pytest.raises(TimeoutError),
    ):
        watcher.ready(50)


async def test_unknown_key_is_fetched(service: Service, watcher: WatcherThread, verifier: Verifier) -> None:
    """A token of a key not held yet is refused once and passes soon after."""
    login = await logged_in(service)
    verifier.use_keys(KeySet([Key.from_jwk(JWK)]))

    with pytest.raises(UnknownKey):
        verifier.verify(login.tokens.access_token)
    await until(lambda: verifier.keys is watcher._following.keys)

    assert verifier.verify(login.tokens.access_token).session_id == login.session.id


def test_credential_never_travels_in_the_clear() -> None:
    """Without TLS a target on another host is refused before anything is sent."""
    watcher = WatcherThread("auth.example:443", "key", Verifier(ISSUER, SESSION_AUDIENCE))

    with pytest.raises(PlaintextRefused):
        watcher.start()


async def test_key_set_call(service: Service, verifier: Verifier) -> None:
    """A service that follows nothing gets its keys by GetKeySet, which needs no credential."""
    login = await logged_in(service)

    with KeyRefresh(verifier, KeySetCall(service.address)) as refresh:
        await asyncio.to_thread(refresh.ready)

    assert verifier.verify(login.tokens.access_token).session_id == login.session.id


def test_key_set_call_without_a_server() -> None:
    """A server that does not answer is a failure like any other."""
    with pytest.raises(KeySourceFailed, match="UNAVAILABLE"):
        KeySetCall("127.0.0.1:1").read()


@pytest.mark.usefixtures("_no_shared")
async def test_one_watcher_of_an_issuer(service: Service, verifier: Verifier) -> None:
    """All verifiers of one issuer in a process share one stream and one view."""
    key, other = service.keys["gateway"], Verifier(ISSUER, "billing", clock=service.clock)

    first = shared_watcher(service.address, key, verifier)
    second = shared_watcher(service.address, key, other)
    await asyncio.to_thread(first.ready)

    assert second is first
    assert other.revocations is verifier.revocations
    assert other.keys is verifier.keys is not None
    with pytest.raises(ValueError, match="already watched"):
        shared_watcher("127.0.0.1:1", key, Verifier(ISSUER, "third"))


FORKING = """
import os, sys
from authsvc_client import TokenRejected, Verifier, shared_watcher

def told():
    try:
        verifier.verify(token)
        return "passes"
    except TokenRejected as error:
        return type(error).__name__

issuer, address = sys.argv[1:]
key, token = input(), input()
verifier = Verifier(issuer, "orders")
watcher = shared_watcher(address, key, verifier)
watcher.ready()
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    watcher.ready()
    watcher.wait_for_revision(1)
    print(told(), flush=True)
    sys.exit(status)
try:
    watcher.ready(3_000)
except TimeoutError:
    pass
print(told(), flush=True)
try:
    watcher.wait_for_revision(int(input()), 1_000)
except Exception as error:
    print(type(error).__name__, flush=True)
print(told(), flush=True)
os._exit(0)
"""


async def _forked(service: Service, **environment: str) -> list[bytes]:
    """What child and parent say before and after a session is revoked."""
    login = await logged_in(service)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", FORKING, ISSUER, service.address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{service.keys['gateway']}\n{login.tokens.access_token}\n".encode())
        first = await asyncio.wait_for(process.stdout.readline(), 20)
        revision = await revoke(service, login.session.id)
        rest, _ = await asyncio.wait_for(process.communicate(f"{revision}\n".encode()), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return [first.strip(), *rest.split()]


async def test_forked_child_hears_for_itself(service: Service) -> None:
    """After a fork the child follows on a stream of its own, and the parent on."""
    said = await _forked(service, GRPC_ENABLE_FORK_SUPPORT="1")

    assert said == [b"passes", b"TokenRevoked", b"TokenRevoked"]


async def test_child_where_grpc_does_not_survive(service: Service) -> None:
    """Without gRPC's support a fork hangs nobody: the child verifies on and its view is known to get old."""
    said = await _forked(service)

    assert said == [b"passes", b"RevisionNotReached", b"passes", b"TokenRevoked"]
