"""Owns the tour: what authsvc promises, shown on a running server over real gRPC, step by step and timed.

Each step says what it proves, and is an assertion: the tour holds only if every step held. Leaves starting a server to
`dev`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from rich.console import Console

from authsvc.outside import wall_clock
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client.strict import AccessToken, KeySet, require_audience, verify_access_token

DETAILS_KEY = "grpc-status-details-bin"
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """The server to visit, and who visits it."""

    address: str
    issuer: str
    username: str
    password: str = field(repr=False)


class DidNotHold(Exception):
    """A promise did not hold; the message says what happened instead."""


async def take_tour(place: Place, console: Console) -> bool:
    """Walk through every step; return whether all of them held."""
    console.print(f"\n[bold]A tour of authsvc[/] at {place.address}, over real gRPC\n")
    async with grpc.aio.insecure_channel(place.address) as channel:
        tour = _Tour(place, channel)
        held = [await _show(number, step, console) for number, step in enumerate(tour.steps(), 1)]
        await tour.end()
    good = sum(held)
    console.print(
        f"\n[bold green]All {good} steps held.[/]"
        if good == len(held)
        else f"\n[bold red]{len(held) - good} of {len(held)} steps did not hold.[/]"
    )
    return good == len(held)


Step = tuple[str, str, Callable[[], Awaitable[str]]]


async def _show(number: int, step: Step, console: Console) -> bool:
    name, proves, run = step
    started = time.perf_counter()
    try:
        said = await run()
        mark, held = "[green]✓[/]", True
    except (DidNotHold, grpc.aio.AioRpcError) as error:
        said = str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error)
        mark, held = "[red]✗[/]", False
    milliseconds = 1000 * (time.perf_counter() - started)
    console.print(f" {mark} [bold]{number:2}. {name}[/] [dim]{milliseconds:.1f} ms[/]")
    console.print(f"       {proves}", style="dim", markup=False)
    console.print(f"       {said}", style="cyan" if held else "red", markup=False)
    return held


class _Tour:
    """The steps, and what each leaves for the next."""

    def __init__(self, place: Place, channel: grpc.aio.Channel) -> None:
        self._place = place
        self._auth = AuthServiceStub(channel)
        self._login = pb.LoginResponse()
        self._first_refresh = self._successor = self._newest = ""
        self._watching: asyncio.Task[tuple[str, float]] | None = None
        self._revoked_at = 0.0

    def steps(self) -> list[Step]:
        """Every step, in order: its name, what it proves, how."""
        return [
            ("Login", "one password gives a session and a token pair", self.login),
            ("ValidateSession", "the opaque session token names its session", self.validate),
            ("Local verification", "the JWT is checked with the key set alone, no call", self.verify),
            ("Refresh", "the refresh token turns into its successor", self.refresh),
            (
                "The same token again",
                "a lost reply gets the same successor, nobody is logged out",
                self.replay,
            ),
            ("The successor", "is used in turn", self.use_successor),
            ("Theft", "the first token once more can only be a thief: refused", self.theft),
            ("Session gone", "and the theft has ended the whole session", self.session_gone),
            ("A second login", "while somebody follows the stream of revocations", self.second_login),
            ("Revoke", "ends it durably, and says at which revision", self.revoke),
            ("ValidateSession", "refuses at once", self.session_refused),
            ("Introspect", "of the JWT refuses at once, long before it expires", self.jwt_refused),
            ("Watch", "has told every follower, so that local checks refuse too", self.heard),
        ]

    async def end(self) -> None:
        """Stop following."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def login(self) -> str:
        self._login = await self._log_in()
        _hold(self._login.session_token.startswith("ats_"), "no session token came back")
        self._first_refresh = self._login.tokens.refresh_token
        return f"session {self._login.session.id}, of {self._login.session.username}"

    async def validate(self) -> str:
        request = pb.ValidateSessionRequest(session_token=self._login.session_token)
        response = await self._auth.ValidateSession(request)
        _hold(response.session.id == self._login.session.id, "another session came back")
        return f"active, scopes {' '.join(response.session.scopes)}"

    async def verify(self) -> str:
        key_set = await self._auth.GetKeySet(pb.GetKeySetRequest())
        keys = KeySet.from_jwks(key_set.jwks)
        started = time.perf_counter()
        token = self._verified(keys)
        microseconds = 1e6 * (time.perf_counter() - started)
        _hold(token.session_id == self._login.session.id, "the JWT names another session")
        return f"{key_set.keys[0].algorithm}, {len(self._login.tokens.access_token)} bytes, in {microseconds:.0f} µs"

    async def refresh(self) -> str:
        response = await self._refresh(self._first_refresh)
        self._successor = response.tokens.refresh_token
        _hold(self._successor != self._first_refresh, "the refresh token did not change")
        return "new refresh token, new JWT"

    async def replay(self) -> str:
        response = await self._refresh(self._first_refresh)
        _hold(response.replayed, "it was not recognised as a replay")
        _hold(response.tokens.refresh_token == self._successor, "another successor came back")
        return "the same successor, byte for byte, and a fresh JWT"

    async def use_successor(self) -> str:
        self._newest = (await self._refresh(self._successor)).tokens.refresh_token
        return "rotated again: from here on the first token is two steps old"

    async def theft(self) -> str:
        return await self._refused(self._refresh(self._first_refresh), "REFRESH_TOKEN_REUSED")

    async def session_gone(self) -> str:
        await self._refused(self._refresh(self._newest), "REFRESH_TOKEN_NOT_ACTIVE")
        return await self._refused(self._validate(), "SESSION_NOT_ACTIVE")

    async def second_login(self) -> str:
        self._login = await self._log_in()
        following = asyncio.Event()
        self._watching = asyncio.create_task(self._follow(following))
        await asyncio.wait_for(following.wait(), _PATIENCE_SECONDS)
        return f"session {self._login.session.id}"

    async def revoke(self) -> str:
        request = pb.RevokeRequest(token=self._login.tokens.access_token)
        response = await self._auth.Revoke(request)
        self._revoked_at = time.perf_counter()
        _hold(response.revoked_count == 1, "nothing was revoked")
        return f"revision {response.revision}"

    async def session_refused(self) -> str:
        return await self._refused(self._validate(), "SESSION_NOT_ACTIVE")

    async def jwt_refused(self) -> str:
        token = self._login.tokens.access_token
        response = await self._auth.Introspect(pb.IntrospectRequest(token=token))
        _hold(response == pb.IntrospectResponse(), "it is still active")
        return "active: false, and not a word more"

    async def heard(self) -> str:
        if self._watching is None:
            raise DidNotHold("nobody followed")
        try:
            session_id, heard_at = await asyncio.wait_for(self._watching, _PATIENCE_SECONDS)
        except TimeoutError:
            raise DidNotHold("nothing was heard for 5 s") from None
        _hold(session_id == self._login.session.id, "another session was named")
        late = 1000 * (heard_at - self._revoked_at)
        return (
            f"heard {late:.1f} ms after Revoke returned" if late > 0 else "heard even before Revoke returned"
        )

    async def _follow(self, following: asyncio.Event) -> tuple[str, float]:
        async for event in self._auth.Watch(pb.WatchRequest()):
            following.set()
            if event.WhichOneof("event") == "revocation":
                return event.revocation.session_id, time.perf_counter()
        raise DidNotHold("the stream ended")

    async def _log_in(self) -> pb.LoginResponse:
        request = pb.LoginRequest(username=self._place.username, password=self._place.password)
        return await self._auth.Login(request)

    def _refresh(self, token: str) -> Awaitable[pb.RefreshResponse]:
        return self._auth.Refresh(pb.RefreshRequest(refresh_token=token))

    def _validate(self) -> Awaitable[pb.ValidateSessionResponse]:
        return self._auth.ValidateSession(pb.ValidateSessionRequest(session_token=self._login.session_token))

    def _verified(self, keys: KeySet) -> AccessToken:
        token = verify_access_token(
            self._login.tokens.access_token, keys, issuer=self._place.issuer, now=wall_clock()
        )
        require_audience(token, self._login.tokens.audiences[0])
        return token

    @staticmethod
    async def _refused(call: Awaitable[object], reason: str) -> str:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            found = _reason(error)
            _hold(found == reason, f"refused, but with {found or error.code().name}")
            return f"{error.code().name}, {reason}"
        raise DidNotHold("it was accepted")


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DidNotHold(otherwise)


def _reason(error: grpc.aio.AioRpcError) -> str:
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY, b"")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""
