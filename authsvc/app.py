"""Owns joining the parts: stores, rules, servicers, server. The one place that knows them all.

Leaves settings to `config`, the life of the process to `commands`.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
import structlog
from prometheus_client import CollectorRegistry

from authsvc.background import end_tasks
from authsvc.config import Settings
from authsvc.core.access_tokens import AccessTokens
from authsvc.core.announce import Announcer
from authsvc.core.audit_retention import AuditRetention
from authsvc.core.cached_sessions import CachedForm
from authsvc.core.callers import Caller, Callers, ClientRegistry
from authsvc.core.clients import Clients
from authsvc.core.clock import SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.exchange import Exchange
from authsvc.core.explain import Explain
from authsvc.core.feed import Feed
from authsvc.core.introspect import Introspect
from authsvc.core.key_lifecycle import GivenKeys, ManagedKeys, SigningKeys
from authsvc.core.last_seen import LastSeen
from authsvc.core.list_audit_events import ListAuditEvents
from authsvc.core.list_sessions import ListSessions
from authsvc.core.login import Login
from authsvc.core.model import LogPosition
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import PasswordHashing
from authsvc.core.refresh import Refresh
from authsvc.core.revoke import Revoke
from authsvc.core.sealing import CannotUnseal, Vault
from authsvc.core.signing_keys import NO_KEYS, VAULT_PURPOSE, Keys, SigningKeyUnusable, ring_from_pem
from authsvc.core.tail import Tail
from authsvc.core.throttle import FallbackThrottle, LocalThrottle
from authsvc.core.tokens import TokenMint
from authsvc.core.users import Users
from authsvc.core.validate import SessionValidator
from authsvc.core.view import View
from authsvc.outside import Outside
from authsvc.rpc import interceptors, reflection, transport
from authsvc.rpc.admin_servicer import AdminServicer
from authsvc.rpc.auth_servicer import AuthServicer
from authsvc.rpc.errors import Statuses
from authsvc.rpc.health import Health
from authsvc.rpc.metrics import CallMetrics
from authsvc.rpc.policy import SERVICES
from authsvc.rpc.services import Services
from authsvc.rpc.showing import SessionShowing
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.valkey import CacheStores, open_cache

_STOP_GRACE_SECONDS = 10.0
_SWEEP_EVERY = 60
_log = structlog.get_logger("authsvc")


@dataclass(frozen=True, slots=True)
class Development:
    """What only development has: reflection, and a stand-in for local callers without `authorization`."""

    anonymous: Caller


class AddressTaken(Exception):
    """The address to listen on cannot be had. The message names it."""


class App:
    """One instance: opened, started, stopped."""

    def __init__(
        self,
        settings: Settings,
        outside: Outside,
        stores: SqlStores,
        cache: CacheStores,
        development: Development | None,
    ) -> None:
        self.settings = settings
        self.stores = stores
        self.cache = cache
        self.metrics = CollectorRegistry()
        self.health = Health([service.full_name for service in SERVICES])
        self.port = 0
        self._outside = outside
        self._development = development
        self._shield = interceptors.Shield()
        self._background: set[asyncio.Task[None]] = set()
        self._passwords = PasswordHashing(settings.password_slots)
        self._server: grpc.aio.Server | None = None
        self._view = View()
        self._feed = Feed()
        self._last_seen = LastSeen(stores.sessions)
        self._registry = ClientRegistry(stores.clients, outside.clock)
        self._tail = Tail(stores.log, self._view, self._feed, outside.clock, outside.monotonic, self._on_move)
        self._announcer = Announcer(self._view, cache.sessions, stores.log, cache.hints, self._tail.hint)
        self._keys = Keys(NO_KEYS)
        self._signing_keys = self._open_signing_keys()
        self._audit_retention = AuditRetention(stores.audit, settings.audit_retention, outside.clock)
        self._reloaded = 0

    async def start(self) -> None:
        """Fill the view, open the port, take calls. Raises StoreUnavailable, SigningKeyUnusable, AddressTaken."""
        await self._tail.load()
        await self._registry.load()
        await self._signing_keys.load()
        await self._signing_keys.step()
        services = self._services()
        self._server = self._build_server(services)
        await self._server.start()
        self._begin(self._tail.run(), self._tail.listen(self.cache.hints.listen()))
        self._begin(self._last_seen.run(), self._beat(), self._keep_keys(), self._audit_retention.run())
        self.health.set(True)

    async def stop(self, drain_ms: int = 0) -> None:
        """Say so, take no more calls, finish those under way, write what waits, close the stores."""
        self.health.close()
        await asyncio.sleep(drain_ms / SECOND)
        self._feed.close()
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_SECONDS)
        await self._shield.drain()
        await end_tasks(self._background)
        await self._tail.close()
        await end_tasks(self._background)  # what the last read of the log has begun
        with suppress(StoreUnavailable):
            await self._last_seen.flush()
        self._passwords.close()
        await self.cache.close()
        await self.stores.close()

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

    def _services(self) -> Services:
        settings, outside, stores, cache = self.settings, self._outside, self.stores, self.cache
        clock, random_bytes = outside.clock, outside.random_bytes
        mint = TokenMint(settings.secrets, random_bytes)
        access = AccessTokens(settings.issuer, settings.access_ttl, self._keys, random_bytes)
        own_tokens = OwnTokens(settings.issuer, self._keys, self._view, clock)
        announcer = self._announcer
        form = CachedForm(SessionShowing())
        validator = SessionValidator(
            mint, form, cache.sessions, stores.sessions, self._view, self._last_seen, clock, outside.monotonic
        )
        return Services(
            issuer=settings.issuer,
            login=Login(
                users=stores.users,
                sessions=stores.sessions,
                audit=stores.audit,
                form=form,
                cache=cache.sessions,
                throttle=FallbackThrottle(cache.throttle) if cache.throttle else LocalThrottle(),
                passwords=self._passwords,
                clients=self._registry,
                mint=mint,
                access=access,
                lifetimes=settings.lifetimes,
                clock=clock,
                random_bytes=random_bytes,
            ),
            refresh=Refresh(
                sessions=stores.sessions,
                announcer=announcer,
                mint=mint,
                access=access,
                clock=clock,
                random_bytes=random_bytes,
            ),
            revoke=Revoke(stores.sessions, announcer, mint, own_tokens, clock),
            validator=validator,
            exchange=Exchange(validator, access, clock),
            introspect=Introspect(
                mint=mint,
                validator=validator,
                sessions=stores.sessions,
                own_tokens=own_tokens,
                tail=self._tail,
                clock=clock,
            ),
            list_sessions=ListSessions(stores.sessions, clock),
            users=Users(
                store=stores.users,
                announcer=announcer,
                passwords=self._passwords,
                rules=PasswordRules(settings.password_min_length),
                clock=clock,
                random_bytes=random_bytes,
            ),
            clients=Clients(
                store=stores.clients, registry=self._registry, hints=cache.hints, mint=mint, clock=clock
            ),
            callers=Callers(mint, self._registry, validator, own_tokens),
            explain=Explain(
                issuer=settings.issuer,
                mint=mint,
                sessions=stores.sessions,
                cache=cache.sessions,
                clients=stores.clients,
                signing_keys=self._signing_keys,
                evidence=stores.evidence,
                view=self._view,
                clock=clock,
            ),
            audit_events=ListAuditEvents(stores.audit),
            keys=self._keys,
            signing_keys=self._signing_keys,
            view=self._view,
            tail=self._tail,
            feed=self._feed,
        )

    def _build_server(self, services: Services) -> grpc.aio.Server:
        server = grpc.aio.server(options=transport.OPTIONS)
        errors = interceptors.Errors(Statuses(urlsplit(self.settings.issuer).hostname or ""))
        servicers = {
            "authsvc.v1.AuthService": AuthServicer(services),
            "authsvc.v1.AdminService": AdminServicer(services),
        }
        transport.add_servicers(server, servicers, self._stack(services, errors), errors)
        self.health.add_to(server)
        if self._development is not None:
            reflection.add_to(server)
        self.port = self._open_port(server)
        return server

    def _stack(self, services: Services, errors: interceptors.Errors) -> list[interceptors.Interceptor]:
        """What every call passes, outermost first."""
        anonymous = self._development.anonymous if self._development else None
        metrics = CallMetrics(self.metrics)
        return [
            interceptors.Observe(metrics, errors),
            interceptors.Shed(self.settings.calls_at_once, metrics),
            interceptors.Deadline(),
            interceptors.Authenticate(services.callers, anonymous),
            interceptors.Reach(services.tail),
            self._shield,
        ]

    def _open_port(self, server: grpc.aio.Server) -> int:
        settings = self.settings
        try:
            if settings.tls_cert_file is None or settings.tls_key_file is None:
                return server.add_insecure_port(settings.listen)
            pair = (settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())
            return server.add_secure_port(settings.listen, grpc.ssl_server_credentials([pair]))
        except RuntimeError:
            raise AddressTaken(f"cannot listen on {settings.listen}: is it in use?") from None

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

    async def _beat(self) -> None:
        """Each second tell followers that all is well, if it is; each minute forget what has expired."""
        beats = 0
        while True:
            await asyncio.sleep(1)
            beats += 1
            self._tail.heartbeat()
            self.health.set(self._tail.is_fresh())
            if self._reloaded != self._tail.position.registry:
                self._begin(self._reload())
            if beats % _SWEEP_EVERY == 0:
                self._view.forget_expired(self._outside.clock())


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


async def open_app(
    settings: Settings, outside: Outside | None = None, development: Development | None = None
) -> App:
    """Return an instance over the stores that the settings name; they are not asked for anything but the log's epoch.

    Raises StoreUnavailable if SQL does not answer.
    """
    stores = open_stores(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    try:
        position = await stores.log.position()
    except StoreUnavailable:
        await stores.close()
        raise
    cache = await open_cache(settings.cache_url.get_secret_value(), position.epoch)
    return App(settings, outside or Outside(), stores, cache, development)
