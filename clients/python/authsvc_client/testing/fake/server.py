"""Owns an authsvc for tests: a server on a free port, and what a test does behind its back. Leaves the rules out.

It promises what callers of AuthService see: answers, refusals, rotation, revocation, streams. It has no AdminService,
no throttling, no password rules, no stores, and hashes nothing: passwords of tests are not secrets.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final
from uuid import uuid4

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.testing.fake.deployment import Deployment
from authsvc_client.testing.fake.messages import timestamp
from authsvc_client.testing.fake.records import Caller, Client, Lifetimes, User
from authsvc_client.testing.fake.revoking import GRACE_MS, end, of_user
from authsvc_client.testing.fake.servicer import FakeServicer
from authsvc_client.testing.fake.signing_in import login
from authsvc_client.testing.minting import AUDIENCE, ISSUER
from authsvc_client.testing.movable_clock import MovableClock

CLIENT_ID: Final = "app"
PASSWORD: Final = "a long enough pass phrase"
"""The password of users who were added without one."""
PERMISSIONS: Final = frozenset({"login", "introspect"})
# Every open Watch occupies a thread; they are made when they are needed.
_THREADS: Final = 256


class FakeAuthService:
    """A running authsvc. Use it as a context manager, from sync and async tests alike: it runs in threads of its own.

    It starts out with one client, `app`, whose key is `client_key` and who may log users in and introspect.
    `address` is where it listens; it stays the same through `stop` and `start`.
    """

    def __init__(
        self,
        issuer: str = ISSUER,
        audiences: Sequence[str] = (AUDIENCE,),
        *,
        clock: MovableClock | None = None,
        lifetimes: Lifetimes | None = None,
        heartbeat_ms: int = 1000,
    ) -> None:
        self.issuer = issuer
        self.clock = MovableClock() if clock is None else clock
        self._deployment = Deployment(issuer, self.clock, lifetimes or Lifetimes(), heartbeat_ms)
        self._servicer = FakeServicer(self._deployment)
        self._server: grpc.Server | None = None
        self._port = 0
        self._audiences = tuple(audiences)
        self.client_key = self.add_client(CLIENT_ID, PERMISSIONS)

    def __enter__(self) -> "FakeAuthService":
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`host:port`, on loopback. Raises RuntimeError before the first start."""
        if not self._port:
            raise RuntimeError("not started yet")
        return f"127.0.0.1:{self._port}"

    @property
    def calls(self) -> "Counter[str]":
        """How often each RPC was called, by its name: `calls["Refresh"]`."""
        return self._servicer.calls

    @property
    def revision(self) -> int:
        """The newest revision of the revocation log."""
        return self._deployment.log.revision

    @property
    def jwks(self) -> str:
        """The key set as a JWK Set document (RFC 7517 §5)."""
        return self._deployment.jwks

    def start(self) -> None:
        """Listen. What happened before a `stop` is still known."""
        server = grpc.server(ThreadPoolExecutor(_THREADS, "authsvc-fake"), options=[("grpc.so_reuseport", 0)])
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(self._servicer, server)
        self._servicer.is_closed = False
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop listening; open streams end, calls under way fail with UNAVAILABLE."""
        if self._server is None:
            return
        self._servicer.is_closed = True
        self._wake()
        self._server.stop(None).wait()
        self._server = None

    def go_down(self) -> None:
        """Answer UNAVAILABLE (DEPENDENCY_UNAVAILABLE) to everything and end streams, as if its stores were gone."""
        self._servicer.is_down = True
        self._wake()

    def come_back(self) -> None:
        """Answer again."""
        self._servicer.is_down = False

    def hold_heartbeats(self, hold: bool = True) -> None:
        """Send no heartbeats, so that watchers see their view grow old; or send them again."""
        self._deployment.log.heartbeats = not hold

    def add_client(
        self,
        client_id: str,
        permissions: Iterable[str],
        *,
        audiences: Sequence[str] | None = None,
        scopes: Sequence[str] = (),
    ) -> str:
        """Register a client with some of `login`, `introspect`, `admin`; return its key."""
        with self._deployment.log.changed:
            may = frozenset(permissions)
            own = self._audiences if audiences is None else tuple(audiences)
            self._deployment.clients[client_id] = Client(client_id, may, own, tuple(scopes))
            return self._deployment.client_key(client_id)

    def add_user(self, username: str, *, password: str = PASSWORD, scopes: Sequence[str] = ()) -> str:
        """Add a user, or replace the one of this name; return the id."""
        with self._deployment.log.changed:
            user = User(str(uuid4()), username, password, tuple(scopes))
            self._deployment.users[username.casefold()] = user
            return user.id

    def disable_user(self, username: str) -> None:
        """Disable the account and revoke its sessions."""
        with self._deployment.log.changed:
            user = self._deployment.users[username.casefold()]
            user.is_disabled = True
            sessions = of_user(self._deployment, user.id)
            end(self._deployment, sessions, resources.REVOKE_REASON_ACCOUNT_DISABLED)

    def log_in(
        self, username: str, client_id: str = CLIENT_ID, *, scopes: Sequence[str] = ()
    ) -> pb.LoginResponse:
        """Log a user in without a call, adding them with these scopes if need be."""
        with self._deployment.log.changed:
            if username.casefold() not in self._deployment.users:
                self.add_user(username, scopes=scopes)
            user = self._deployment.users[username.casefold()]
            request = pb.LoginRequest(username=username, password=user.password, scopes=scopes)
            caller = Caller(client_id, permissions=self._deployment.clients[client_id].permissions)
            return login(self._deployment, request, caller)

    def revoke_session(self, session_id: str) -> int:
        """Revoke a session as an admin would; return the revision. Does nothing to one that is not live."""
        with self._deployment.log.changed:
            session = self._deployment.sessions.get(session_id)
            if session is not None and session.revoked_at is None:
                end(self._deployment, [session], resources.REVOKE_REASON_ADMIN)
            return self.revision

    def taint_key(self) -> int:
        """Distrust the signing key and go on with a new one; return the revision."""
        with self._deployment.log.changed:
            old, until = self._deployment.taint_key(), self.clock() + GRACE_MS
            return self._deployment.log.append(resources.Revocation(key_id=old, expire_time=timestamp(until)))

    def _wake(self) -> None:
        with self._deployment.log.changed:
            self._deployment.log.changed.notify_all()


__all__ = ["CLIENT_ID", "PASSWORD", "FakeAuthService", "Lifetimes"]
