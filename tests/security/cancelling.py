"""Calls for many users over several channels, many of them cancelled at a random moment; every reply is looked at.

What comes back is what was found: replies that name another user than the one who was asked about. Seeded: the same
seed makes the same calls, if not the same order of events.
"""

import asyncio
import json
import random
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.parts.service import Service, bearer

CHANNELS = 4
AT_ONCE = 32
# Some calls are waited for, to know how long one takes on this machine now; the others up to so many times as long.
WAITED_FOR = 0.1
PATIENCE = 3

Named = tuple[str, str]
"""A user's id and a session's, as a reply names them."""


@dataclass
class Person:
    """A user who is logged in. The refresh token is the newest one; one refresh at a time."""

    named: Named
    session_token: str
    access_token: str
    refresh_token: str
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Found:
    """How many calls ended how, and the replies that named somebody else: (call, asked about, named)."""

    ends: Counter[str] = field(default_factory=Counter)
    strangers: list[tuple[str, Named, Named]] = field(default_factory=list)


async def people_of(service: Service, count: int) -> list[Person]:
    """Log so many users in."""
    logins = [await service.login(f"user{number}") for number in range(count)]
    return [
        Person(
            (login.session.user_id, login.session.id),
            login.session_token,
            login.tokens.access_token,
            login.tokens.refresh_token,
        )
        for login in logins
    ]


class Cancelling:
    """Makes calls, cancels some, and looks at what the others say."""

    def __init__(self, service: Service, people: list[Person], seed: int) -> None:
        self.found = Found()
        self._service = service
        self._people = people
        self._chance = random.Random(seed)
        self._usual_s = 0.01
        self._gateway, self._web = service.by("gateway"), service.by("web")

    async def run(self, calls: int) -> Found:
        """Make so many calls."""
        channels = [_channel(self._service, number) for number in range(CHANNELS)]
        stubs = [AuthServiceStub(channel) for channel in channels]
        each = calls // AT_ONCE
        await asyncio.gather(*(self._go_on(stubs[number % CHANNELS], each) for number in range(AT_ONCE)))
        for channel in channels:
            await channel.close()
        return self.found

    async def _go_on(self, stub: Any, calls: int) -> None:
        kinds = [
            self._validate,
            self._validate,
            self._exchange,
            self._introspect,
            self._batch,
            self._list,
            self._refresh,
        ]
        for _ in range(calls):
            kind, person = self._chance.choice(kinds), self._chance.choice(self._people)
            try:
                end = await kind(stub, person)
            except grpc.aio.AioRpcError as error:
                end = error.code().name
            self.found.ends[end] += 1

    async def _validate(self, stub: Any, person: Person) -> str:
        request = pb.ValidateSessionRequest(session_token=person.session_token)
        reply = await self._impatient(stub.ValidateSession(request, metadata=self._gateway))
        return self._look("ValidateSession", person, reply, lambda: (reply.session.user_id, reply.session.id))

    async def _exchange(self, stub: Any, person: Person) -> str:
        request = pb.ExchangeSessionRequest(session_token=person.session_token)
        reply = await self._impatient(stub.ExchangeSession(request, metadata=self._gateway))
        self._look("ExchangeSession", person, reply, lambda: named_in(reply.access_token))
        return self._look("ExchangeSession", person, reply, lambda: (reply.session.user_id, reply.session.id))

    async def _introspect(self, stub: Any, person: Person) -> str:
        token = self._chance.choice((person.session_token, person.access_token))
        reply = await self._impatient(
            stub.Introspect(pb.IntrospectRequest(token=token), metadata=self._gateway)
        )
        return self._look("Introspect", person, reply, lambda: (reply.sub, reply.sid))

    async def _batch(self, stub: Any, person: Person) -> str:
        asked = [person, *self._chance.choices(self._people, k=3)]
        request = pb.BatchValidateSessionsRequest(session_tokens=[each.session_token for each in asked])
        reply = await self._impatient(stub.BatchValidateSessions(request, metadata=self._gateway))
        if reply is not None:
            for each, result in zip(asked, reply.results, strict=True):
                self._look("BatchValidateSessions", each, result, lambda: _session(result))  # noqa: B023  called here
        return "OK" if reply is not None else "cancelled"

    async def _list(self, stub: Any, person: Person) -> str:
        call = stub.ListSessions(pb.ListSessionsRequest(), metadata=bearer(person.session_token))
        reply = await self._impatient(call)
        return self._look("ListSessions", person, reply, lambda: _session(reply.sessions[0]))

    async def _refresh(self, stub: Any, person: Person) -> str:
        """Refresh; if that is cancelled nobody knows what became of it, so once more and patiently."""
        async with person.refreshing:
            request = pb.RefreshRequest(refresh_token=person.refresh_token)
            reply = await self._impatient(stub.Refresh(request, metadata=self._web))
            cancelled = reply is None
            if reply is None:
                reply = await stub.Refresh(request, metadata=self._web)
                await self._settle()
            person.refresh_token, person.access_token = reply.tokens.refresh_token, reply.tokens.access_token
            self._look("Refresh", person, reply, lambda: named_in(reply.tokens.access_token))
            self._look("Refresh", person, reply, lambda: _session(reply.session))
            return "cancelled" if cancelled else "OK"

    async def _settle(self) -> None:
        """Let what was cancelled come to its end: later, when the successor has been used, it would pass for theft."""
        under_way = set(self._service.app._shield._under_way)
        if under_way:
            await asyncio.wait(under_way)

    async def _impatient(self, call: Any) -> Any:
        """The reply; None if the call was cancelled before it came."""
        loop = asyncio.get_running_loop()
        waited_for = self._chance.random() < WAITED_FOR
        patience_s = self._chance.uniform(0, PATIENCE) * self._usual_s
        started, cancelling = loop.time(), loop.call_later(60 if waited_for else patience_s, call.cancel)
        try:
            reply = await call
        except asyncio.CancelledError:
            return None
        finally:
            cancelling.cancel()
        if waited_for:
            self._usual_s = 0.8 * self._usual_s + 0.2 * (loop.time() - started)
        return reply

    def _look(self, call: str, person: Person, reply: Any, named: Callable[[], Named]) -> str:
        if reply is None:
            return "cancelled"
        if named() != person.named:
            self.found.strangers.append((call, person.named, named()))
        return "OK"


def _session(reply: Any) -> Named:
    session = getattr(reply, "session", reply)
    return (session.user_id, session.id)


def named_in(access_token: str) -> Named:
    """Whom a JWT names; nothing is verified."""
    payload = access_token.split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return (claims["sub"], claims["sid"])


def _channel(service: Service, number: int) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(service.address, [("grpc.channel_id", number)])
