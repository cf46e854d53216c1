"""The watcher on an event loop, against a real instance."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import PlaintextRefused, Verifier, Watcher
from authsvc_client.strict import Key, KeySet, TokenRevoked, UnknownKey
from authsvc_client.verifying import KeysUnavailable, RevisionNotReached
from authsvc_client.watching import channels
from authsvc_client.watching.back_off import BackOff
from tests.client.strict_minting import JWK
from tests.client.watching.watched import SESSION_AUDIENCE, logged_in, revoke
from tests.parts.cutting import cutting
from tests.parts.service import ISSUER, Service


@pytest.fixture
def verifier(service: Service) -> Verifier:
    """A verifier for one of the service's audiences that nobody feeds yet."""
    return Verifier(ISSUER, SESSION_AUDIENCE, clock=service.clock)


@pytest.fixture
async def watcher(service: Service, verifier: Verifier) -> AsyncIterator[Watcher]:
    """A watcher that feeds `verifier` and has heard a complete view."""
    async with Watcher(service.address, service.keys["gateway"], verifier) as running:
        await running.ready()
        yield running


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something in the background makes it true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  a thread or a task in the background changes it
            await asyncio.sleep(0.005)


async def test_keys_arrive_with_the_snapshot(service: Service, watcher: Watcher, verifier: Verifier) -> None:
    """A verifier needs no keys of its own: the stream brings them."""
    login = await logged_in(service)

    token = verifier.verify(login.tokens.access_token)

    assert token.session_id == login.session.id


async def test_nothing_is_judged_before_there_are_keys(service: Service, verifier: Verifier) -> None:
    """Without keys the answer is 'not known', never 'refused'."""
    login = await logged_in(service)

    with pytest.raises(KeysUnavailable):
        verifier.verify(login.tokens.access_token)


async def test_revocation_is_heard(service: Service, watcher: Watcher, verifier: Verifier) -> None:
    """A token that passed is refused once its session's revocation has been heard."""
    login = await logged_in(service)
    verifier.verify(login.tokens.access_token)

    await watcher.wait_for_revision(await revoke(service, login.session.id))

    with pytest.raises(TokenRevoked):
        verifier.verify(login.tokens.access_token)


async def test_earlier_revocations_come_with_the_snapshot(service: Service, verifier: Verifier) -> None:
    """What was revoked before the watcher started is refused from the start."""
    login = await logged_in(service)
    await revoke(service, login.session.id)

    async with Watcher(service.address, service.keys["gateway"], verifier) as watcher:
        await watcher.ready()

    with pytest.raises(TokenRevoked):
        verifier.verify(login.tokens.access_token)


async def test_channel_of_the_callers_own(service: Service, verifier: Verifier) -> None:
    """An open channel serves as well as a target, and stays open."""
    async with Watcher(service.channel, service.keys["gateway"], verifier) as watcher:
        await watcher.ready()

    assert (await service.auth.GetKeySet(pb.GetKeySetRequest())).keys


async def test_added_verifier_shares_the_view(service: Service, watcher: Watcher) -> None:
    """A verifier for another audience is served by the same stream."""
    other = Verifier(ISSUER, "billing", clock=service.clock)
    watcher.add(other)
    login = await service.login(audiences=["billing"])

    before = other.verify(login.tokens.access_token)
    await watcher.wait_for_revision(await revoke(service, login.session.id))

    assert before.session_id == login.session.id
    with pytest.raises(TokenRevoked):
        other.verify(login.tokens.access_token)


async def test_cut_stream_is_resumed(service: Service, verifier: Verifier) -> None:
    """What is revoked while the stream is cut is heard after it, without another snapshot."""
    login = await logged_in(service)
    async with (
        cutting(service.app.port) as wire,
        Watcher(wire.address, service.keys["gateway"], verifier) as watcher,
    ):
        await watcher.ready()
        await watcher.wait_for_revision(await revoke(service, (await logged_in(service)).session.id))
        told: list[frozenset[str] | None] = []
        watcher.revocations.subscribe(told.append)
        wire.cut()
        await watcher.wait_for_revision(await revoke(service, login.session.id))

    assert frozenset({login.session.id}) in told
    assert None not in told
    assert wire.connections == 2


async def test_silent_stream_is_left(
    service: Service, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stays open but carries nothing is given up for a new one, which hears what was missed."""
    monkeypatch.setattr("authsvc_client.watching.watcher.SILENCE_MS", 1_300)
    login = await logged_in(service)
    async with (
        cutting(service.app.port) as wire,
        Watcher(wire.address, service.keys["gateway"], verifier) as watcher,
    ):
        await watcher.ready()
        wire.hold()
        revision = await revoke(service, login.session.id)
        await until(lambda: wire.connections == 2)
        aged = watcher.revocations.age_ms()
        wire.release()
        await watcher.wait_for_revision(revision)

    assert aged >= 1_300


async def test_waiting_for_a_revision_in_vain(watcher: Watcher) -> None:
    """A revision that nobody has made yet is 'not known' after the time given."""
    with pytest.raises(RevisionNotReached):
        await watcher.wait_for_revision(watcher.revocations.revision + 1, 20)


async def test_not_ready_without_a_server(service: Service, verifier: Verifier) -> None:
    """A service can start while authsvc is away; whoever wants to wait is told."""
    async with Watcher("127.0.0.1:1", "key", verifier) as watcher:
        with pytest.raises(TimeoutError):
            await watcher.ready(50)


async def test_wrong_credential_is_logged_without_it(
    service: Service, verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    """A client key that is not accepted is tried again and said in the log, by status alone."""
    key = service.keys["web"]
    with caplog.at_level(logging.WARNING, logger="authsvc_client"):
        async with Watcher(service.address, key, verifier):
            await until(lambda: len(caplog.records) >= 2)

    assert "PERMISSION_DENIED" in caplog.text
    assert key not in caplog.text


async def test_credential_may_change(service: Service, verifier: Verifier) -> None:
    """A credential that is asked for is asked for again on every stream."""
    keys = [service.keys["web"], service.keys["gateway"]]

    async with Watcher(service.address, lambda: keys.pop(0), verifier) as watcher:
        await watcher.ready()

    assert keys == []


async def test_credential_that_cannot_be_had(service: Service, verifier: Verifier) -> None:
    """A credential that fails to be read once is asked for again; the watcher lives on."""
    answers: Iterator[OSError | str] = iter([OSError("no such file"), service.keys["gateway"]])

    def credential() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async with Watcher(service.address, credential, verifier) as watcher:
        await watcher.ready()

    assert verifier.keys is not None


async def test_unknown_key_is_fetched(service: Service, watcher: Watcher, verifier: Verifier) -> None:
    """A token of a key not held yet is refused once and passes soon after, without a new stream."""
    login = await logged_in(service)
    verifier.use_keys(KeySet([Key.from_jwk(JWK)]))

    with pytest.raises(UnknownKey):
        verifier.verify(login.tokens.access_token)
    await until(lambda: len(verifier.keys or ()) > 0 and verifier.keys is watcher._following.keys)

    assert verifier.verify(login.tokens.access_token).session_id == login.session.id


async def test_unknown_keys_cost_one_fetch(service: Service, watcher: Watcher, verifier: Verifier) -> None:
    """However many tokens name unknown keys, the key set is fetched once in 30 s, off the path of any request."""
    login, fetched = await logged_in(service), [0]
    real = watcher._stub.GetKeySet

    def counted(*arguments: object, **named: object) -> object:
        fetched[0] += 1
        return real(*arguments, **named)  # type: ignore[arg-type]

    watcher._stub.GetKeySet = counted  # type: ignore[assignment]
    for _ in range(3):
        verifier.use_keys(KeySet([Key.from_jwk(JWK)]))
        for _ in range(50):
            with pytest.raises(UnknownKey):
                verifier.verify(login.tokens.access_token)
        await asyncio.sleep(0.05)

    assert fetched == [1]


@pytest.mark.parametrize(
    "target",
    [
        "auth.example:443",
        "10.0.0.1:50051",
        "dns:///auth.example:1",
        "localhost.example:1",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
    ],
)
def test_credential_never_travels_in_the_clear(target: str) -> None:
    """Without TLS a target on another host is refused before anything is sent."""
    with pytest.raises(PlaintextRefused):
        Watcher(target, "key", Verifier(ISSUER, SESSION_AUDIENCE))


@pytest.mark.parametrize(
    "target",
    [
        "localhost:1",
        "127.0.0.1:1",
        "127.8.8.8:1",
        "[::1]:1",
        "dns:///localhost:1",
        "ipv6:[::1]:1",
        "unix:/tmp/x",
    ],
)
def test_this_host_may_be_reached_in_the_clear(target: str) -> None:
    """Loopback addresses and Unix sockets need no TLS."""
    assert channels.is_on_this_host(target)


def test_waits_grow_and_differ() -> None:
    """A fleet that lost its server comes back neither at once nor in step, and after a success it starts over."""
    back_off = BackOff()

    waits = [back_off.next_ms() for _ in range(200)]
    back_off.succeeded()

    assert waits[0] <= 100
    assert max(waits) <= 2_000
    assert max(waits[8:]) > 1_000
    assert len(set(waits)) == len(waits)
    assert back_off.next_ms() <= 100
