"""Owns the life of an instance: opened, started, stopped, and what it does by itself meanwhile.

Leaves joining the rules to `rules`, the port to `listening`, the life of the process to `authsvc.commands`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from authsvc.app.certificates import Certificates
from authsvc.app.http_listening import HttpPort, inside_of
from authsvc.app.instance_metrics import InstanceMetrics
from authsvc.app.listening import Ports, open_ports
from authsvc.app.rules import Parts, join_rules
from authsvc.app.soundness import StoreWatch
from authsvc.background import end_tasks
from authsvc.core import stored_hashes
from authsvc.core.announce import Announcer
from authsvc.core.audit_retention import AuditRetention
from authsvc.core.callers import Caller, ClientRegistry
from authsvc.core.chores import EndedSessions, ExpiredEntries
from authsvc.core.clock import SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.feed import Feed
from authsvc.core.hashing_threads import Hasher
from authsvc.core.housekeeping import Housekeeping
from authsvc.core.ids import new_id
from authsvc.core.key_lifecycle import GivenKeys, ManagedKeys, SigningKeys
from authsvc.core.last_seen import LastSeen
from authsvc.core.late_uses import LateUses
from authsvc.core.login_counters import ForgottenFailures
from authsvc.core.model import LogPosition
from authsvc.core.origins import Origins
from authsvc.core.passwords import PasswordHashing
from authsvc.core.roll import RollCall
from authsvc.core.sealing import CannotUnseal, Vault
from authsvc.core.signing_keys import NO_KEYS, VAULT_PURPOSE, Keys, SigningKeyUnusable, ring_from_pem
from authsvc.core.stored_hashes import StoredHashes
from authsvc.core.tail import Tail
from authsvc.core.view import View
from authsvc.http.inside import Inside
from authsvc.outside import Outside
from authsvc.rpc import interceptors, reflection, transport
from authsvc.rpc.admin_servicer import AdminServicer
from authsvc.rpc.auth_servicer import AuthServicer
from authsvc.rpc.errors import Statuses
from authsvc.rpc.ext_authz import AuthorizationServicer
from authsvc.rpc.health import Health
from authsvc.rpc.metrics import CallMetrics
from authsvc.rpc.policy import SERVICES
from authsvc.rpc.services import Services
from authsvc.settings import Settings
from authsvc.stores.sql import SqlStores
from authsvc.stores.valkey import CacheStores

if TYPE_CHECKING:
    from authsvc.app.tracing import Traces

_STOP_GRACE_MS = 10 * SECOND
_QUIET_MS = 200
_SWEEP_EVERY = 60
_log = structlog.get_logger("authsvc")


@dataclass(frozen=True, slots=True)
class Development:
    """What only development has: reflection, and a stand-in for local callers without `authorization`."""

    anonymous: Caller


class App:
    """One instance: opened, started, stopped."""

    def __init__(
        self,
        settings: Settings,
        outside: Outside,
        stores: SqlStores,
        cache: CacheStores,
        development: Development | None,
        shares_port: bool,
        traces: "Traces | None",
        hasher: Hasher | None,
    ) -> None:
        self.settings = settings
        self.stores = stores
        self.cache = cache
        self.metrics = CollectorRegistry()
        self.metrics_page: Callable[[], Awaitable[bytes]] = self._own_page
        """Returns the metrics to show, in the text format of Prometheus; of a worker, those of all workers."""
        self.health = Health([service.full_name for service in SERVICES])
        self.ports = Ports(0)
        self.http = HttpPort()
        self._outside = outside
        self._development = development
        self._shares_port = shares_port
        self._calls = CallMetrics(self.metrics)
        self._doors = interceptors.Doors(self._calls)
        self._traces = traces
        self._shield = interceptors.Shield()
        self._statuses = Statuses(urlsplit(settings.issuer).hostname or "")
        self._background: set[asyncio.Task[None]] = set()
        self._passwords = self._open_passwords(hasher)
        self._server: grpc.aio.Server | None = None
        self._view = View()
        self._feed = Feed()
        self._last_seen = LastSeen(stores.sessions)
        self._late_uses = LateUses(stores.sessions, stores.audit, outside.clock)
        self._registry = ClientRegistry(stores.clients, outside.clock)
        self._tail = Tail(stores.log, self._view, self._feed, outside.clock, outside.monotonic, self._on_move)
        self._announcer = Announcer(self._view, cache.sessions, stores.log, cache.hints, self._tail)
        self._roll = RollCall(stores.instance, cache.roll, stores.peers, self._announcer, outside.monotonic)
        self._keys = Keys(NO_KEYS)
        self._signing_keys = self._open_signing_keys()
        self._housekeeping = self._open_housekeeping()
        self._reloaded = 0
        self.certificates: Certificates | None = None
        ProcessCollector(registry=self.metrics)

    async def start(self) -> None:
        """Fill the view, open the port, take calls. Raises StoreUnavailable, SigningKeyUnusable, AddressTaken."""
        await self._passwords.start()
        await self._tail.load()
        await self._registry.load()
        await self._signing_keys.load()
        await self._signing_keys.step()
        await self._roll.call()
        self.certificates = self._open_certificates()
        services = join_rules(self._parts())
        seen = InstanceMetrics(self._parts(), services.validator.lookups, self._housekeeping, self.health)
        self.metrics.register(seen)
        self._server = self._build_server(services)
        await self._server.start()
        await self.http.open(self.settings, self._inside(services), self._shares_port)
        self._begin(self._tail.run(), self._tail.listen(self.cache.hints.listen()), self._roll.run())
        self._begin(self._late_uses.run())
        self._begin(self._last_seen.run(), self._beat(seen), self._keep_keys(), self._housekeeping.run())
        self._begin(StoreWatch(self.settings, self.stores, self.cache, self.metrics).run())
        if self.certificates is not None:
            self._begin(self.certificates.run(self.http.renew))
        self.health.set(True)

    async def stop(self, drain_ms: int = 0) -> None:
        """Say so, take no more calls, finish those under way, write what waits, close the stores."""
        self.health.close()
        await asyncio.sleep(drain_ms / SECOND)
        self._feed.close()
        await self.http.close()
        if self._server is not None:
            await self._doors.close(_QUIET_MS, _STOP_GRACE_MS)
            await self._server.stop(_STOP_GRACE_MS / SECOND)
        await self._shield.drain()
        await end_tasks(self._background)
        await self._tail.close()
        await end_tasks(self._background)  # what the last read of the log has begun
        with suppress(StoreUnavailable):
            await self._last_seen.flush()
            await self._housekeeping.release()
        await self._passwords.close()
        await self.cache.close()
        await self.stores.close()
        if self._traces is not None:
            await self._traces.close()

    def _inside(self, services: Services) -> Inside:
        anonymous = self._development.anonymous if self._development else None
        return inside_of(self.settings, services, anonymous, self.health, self.metrics, self._page)

    async def _page(self) -> bytes:
        return await self.metrics_page()

    async def _own_page(self) -> bytes:
        return generate_latest(self.metrics)

    @property
    def port(self) -> int:
        """Where it listens; 0 before it is open, and for a Unix socket."""
        return self.ports.main

    def _open_certificates(self) -> Certificates | None:
        files, clock = self.settings.certificates, self._outside.clock
        if files is None:
            return None
        return Certificates(files, self.settings.tls_client_ca_file, clock, self.metrics)

    def _open_passwords(self, hasher: Hasher | None) -> PasswordHashing:
        settings = self.settings
        vault = Vault(settings.secrets, stored_hashes.VAULT_PURPOSE, self._outside.random_bytes)
        return PasswordHashing(
            StoredHashes(vault), settings.password_slots, cost=settings.hash_cost, hasher=hasher
        )

    def _open_signing_keys(self) -> SigningKeys:
        settings, clock = self.settings, self._outside.clock
        if settings.signing_key is not None:
            self._keys.ring = ring_from_pem(settings.signing_key.get_secret_value(), clock())
            return GivenKeys(self._keys)
        return ManagedKeys(
            store=self.stores.keys,
            keys=self._keys,
            vault=Vault(settings.secrets, VAULT_PURPOSE, self._outside.random_bytes),
            algorithm=settings.signing_algorithm,
            rotation_ms=settings.key_rotation,
            announcer=self._announcer,
            feed=self._feed,
            view=self._view,
            clock=clock,
        )

    def _open_housekeeping(self) -> Housekeeping:
        settings, outside, stores = self.settings, self._outside, self.stores
        store, clock = stores.housekeeping, outside.clock
        chores = (
            EndedSessions(store, self.cache.sessions, settings.session_retention, clock),
            ExpiredEntries(store, clock),
            AuditRetention(stores.audit, settings.audit_retention, clock),
            ForgottenFailures(stores.logins, clock),
        )
        return Housekeeping(new_id(clock(), outside.random_bytes), store, chores, clock)

    def _parts(self) -> Parts:
        return Parts(
            settings=self.settings,
            outside=self._outside,
            stores=self.stores,
            cache=self.cache,
            passwords=self._passwords,
            view=self._view,
            feed=self._feed,
            tail=self._tail,
            roll=self._roll,
            last_seen=self._last_seen,
            late_uses=self._late_uses,
            registry=self._registry,
            announcer=self._announcer,
            keys=self._keys,
            signing_keys=self._signing_keys,
        )

    def _build_server(self, services: Services) -> grpc.aio.Server:
        options = {**dict(transport.OPTIONS), "grpc.so_reuseport": int(self._shares_port)}
        server = grpc.aio.server(
            options=tuple(options.items()), maximum_concurrent_rpcs=transport.HELD_AT_ONCE
        )
        statuses = self._statuses
        errors = interceptors.Errors(statuses)
        servicers = {
            "authsvc.v1.AuthService": AuthServicer(services),
            "authsvc.v1.AdminService": AdminServicer(services),
            "envoy.service.auth.v3.Authorization": AuthorizationServicer(services.gate, statuses),
        }
        transport.add_servicers(server, servicers, self._stack(services, errors), errors)
        self.health.add_to(server)
        if self._development is not None:
            reflection.add_to(server)
        self.ports = open_ports(server, self.settings, self.certificates)
        return server

    def _stack(self, services: Services, errors: interceptors.Errors) -> list[interceptors.Interceptor]:
        """What every call passes, outermost first."""
        anonymous = self._development.anonymous if self._development else None
        return [
            interceptors.Observe(self._calls, errors),
            *([interceptors.Trace(self._traces, self._statuses)] if self._traces else []),
            self._doors,
            interceptors.Shed(self.settings.calls_at_once, self._calls),
            interceptors.Deadline(),
            interceptors.Authenticate(services.callers, anonymous),
            interceptors.Whereabouts(self.settings.hops),
            interceptors.Browsers(services.callers, Origins(self.settings.origins(self.settings.issuer))),
            interceptors.Reach(services.tail),
            self._shield,
        ]

    def _begin(self, *work: Coroutine[Any, Any, None]) -> None:
        for each in work:
            task = asyncio.create_task(each)
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def _on_move(self, before: LogPosition, after: LogPosition) -> None:
        if before.epoch != after.epoch:
            self.cache.sessions.set_epoch(after.epoch)
        if before.registry != after.registry:
            self._begin(self._reload())

    async def _reload(self) -> None:
        """Read clients and signing keys anew. If SQL does not answer, `_beat` comes back to it."""
        registry = self._tail.position.registry
        with suppress(StoreUnavailable):
            await self._registry.load()
            try:
                await self._signing_keys.load()
            except (CannotUnseal, SigningKeyUnusable) as error:
                _log.error("a signing key cannot be used", cause=_cause(error))
            self._reloaded = registry

    async def _keep_keys(self) -> None:
        """Each second see to it that signing keys begin and end in time."""
        while True:
            await asyncio.sleep(1)
            try:
                await self._signing_keys.step()
            except StoreUnavailable:
                continue
            except (CannotUnseal, SigningKeyUnusable) as error:
                _log.error("a signing key cannot be used", cause=_cause(error))
                await asyncio.sleep(_SWEEP_EVERY)

    async def _beat(self, seen: InstanceMetrics) -> None:
        """Each second tell followers that all is well, if it is; each minute forget what has expired."""
        beats, now = 0, asyncio.get_running_loop().time
        while True:
            due = now() + 1
            await asyncio.sleep(1)
            seen.loop_late_seconds = max(0.0, now() - due)
            beats += 1
            self._tail.heartbeat()
            self.health.set(self._tail.is_fresh())
            if self._reloaded != self._tail.position.registry:
                self._begin(self._reload())
            if beats % _SWEEP_EVERY == 0:
                self._view.forget_expired(self._outside.clock())


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__
