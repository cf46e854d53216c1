"""Owns joining the rules with the stores they need. Leaves the life of an instance to `authsvc.app.instance`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from authsvc.core import login_challenge, one_time_codes
from authsvc.core.access_tokens import AccessTokens
from authsvc.core.announce import Announcer
from authsvc.core.cached_sessions import CachedForm
from authsvc.core.callers import Callers, ClientRegistry
from authsvc.core.change_password import ChangePassword
from authsvc.core.clients import Clients
from authsvc.core.edge_tokens import EdgeTokens
from authsvc.core.exchange import Exchange
from authsvc.core.explain import Explain
from authsvc.core.feed import Feed
from authsvc.core.gate import Gate
from authsvc.core.introspect import Introspect
from authsvc.core.key_lifecycle import SigningKeys
from authsvc.core.known_devices import KnownDevices
from authsvc.core.last_seen import LastSeen
from authsvc.core.late_uses import LateUses
from authsvc.core.list_audit_events import ListAuditEvents
from authsvc.core.list_security_events import ListSecurityEvents
from authsvc.core.list_sessions import ListSessions
from authsvc.core.login import Login
from authsvc.core.login_challenge import LoginChallenges
from authsvc.core.new_sessions import NewSessions
from authsvc.core.one_time_codes import OneTimeCodes
from authsvc.core.origins import Origins
from authsvc.core.own_password import OwnPassword
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.password_check import PasswordCheck
from authsvc.core.password_rules import PasswordRules, words_of_issuer
from authsvc.core.passwords import PasswordHashing
from authsvc.core.refresh import Refresh
from authsvc.core.revoke import Revoke
from authsvc.core.roll import RollCall
from authsvc.core.sealing import Vault
from authsvc.core.second_factors import SecondFactors
from authsvc.core.signing_keys import Keys
from authsvc.core.step_up import StepUp
from authsvc.core.tail import Tail
from authsvc.core.throttle import FallbackThrottle, LocalThrottle
from authsvc.core.tokens import TokenMint
from authsvc.core.users import Users
from authsvc.core.validate import SessionValidator
from authsvc.core.view import View
from authsvc.outside import Outside
from authsvc.rpc.cookie_delivery import CookieDelivery
from authsvc.rpc.services import Services
from authsvc.rpc.showing import SessionShowing
from authsvc.settings import Settings
from authsvc.stores.sql import SqlStores
from authsvc.stores.valkey import CacheStores


@dataclass(frozen=True, slots=True)
class Parts:
    """What an instance holds from its beginning, and the rules share."""

    settings: Settings
    outside: Outside
    stores: SqlStores
    cache: CacheStores
    passwords: PasswordHashing
    view: View
    feed: Feed
    tail: Tail
    roll: RollCall
    last_seen: LastSeen
    late_uses: LateUses
    registry: ClientRegistry
    announcer: Announcer
    keys: Keys
    signing_keys: SigningKeys


class _Rules:
    """Builds each rule from the parts and from what several rules use."""

    def __init__(self, parts: Parts) -> None:
        settings, outside = parts.settings, parts.outside
        self._parts = parts
        self._mint = TokenMint(settings.secrets, outside.random_bytes)
        self._access = AccessTokens(settings.issuer, settings.access_ttl, parts.keys, outside.random_bytes)
        self._own_tokens = OwnTokens(settings.issuer, parts.keys, parts.view, outside.clock)
        self._own_password = self._open_own_password()
        self._devices = KnownDevices(
            settings.secrets, settings.known_device, outside.clock, outside.random_bytes
        )
        self._codes = OneTimeCodes(
            parts.stores.second_factors,
            parts.stores.audit,
            self._vault(one_time_codes.VAULT_PURPOSE),
            outside.clock,
        )
        self._form = CachedForm(SessionShowing())
        self._validator = SessionValidator(
            self._mint,
            self._form,
            parts.cache.sessions,
            parts.stores.sessions,
            parts.view,
            parts.last_seen,
            parts.late_uses,
            outside.clock,
            outside.monotonic,
            parts.roll.is_complete,
        )

    def services(self) -> Services:
        parts, clock = self._parts, self._parts.outside.clock
        return Services(
            issuer=parts.settings.issuer,
            login=self._login(),
            refresh=self._refresh(),
            revoke=self._revoke(),
            validator=self._validator,
            exchange=Exchange(self._validator, self._access, parts.registry, clock),
            introspect=self._introspect(),
            list_sessions=ListSessions(parts.stores.sessions, clock),
            change_password=self._change_password(),
            security_events=ListSecurityEvents(ListAuditEvents(parts.stores.audit)),
            second_factors=self._second_factors(),
            step_up=self._step_up(),
            users=self._users(),
            clients=self._clients(),
            callers=Callers(
                self._mint,
                parts.registry,
                self._validator,
                self._own_tokens,
                parts.tail,
                parts.settings.issuer,
            ),
            cookies=CookieDelivery(parts.settings.lifetimes, parts.settings.known_device, clock),
            gate=self._gate(),
            explain=self._explain(),
            audit_events=ListAuditEvents(parts.stores.audit),
            keys=parts.keys,
            signing_keys=parts.signing_keys,
            view=parts.view,
            tail=parts.tail,
            feed=parts.feed,
        )

    def _gate(self) -> Gate:
        parts, settings = self._parts, self._parts.settings
        tokens = EdgeTokens(self._access, parts.keys, parts.registry, parts.view, parts.outside.clock)
        return Gate(self._validator, tokens, self._own_tokens, Origins(settings.origins(settings.issuer)))

    def _password_check(self) -> PasswordCheck:
        parts, throttle = self._parts, self._parts.cache.throttle
        return PasswordCheck(
            users=parts.stores.users,
            logins=parts.stores.logins,
            audit=parts.stores.audit,
            throttle=FallbackThrottle(throttle) if throttle else LocalThrottle(),
            devices=self._devices,
            passwords=parts.passwords,
            clock=parts.outside.clock,
        )

    def _open_own_password(self) -> OwnPassword:
        parts, throttle = self._parts, self._parts.cache.throttle
        return OwnPassword(
            users=parts.stores.users,
            audit=parts.stores.audit,
            throttle=FallbackThrottle(throttle) if throttle else LocalThrottle(),
            passwords=parts.passwords,
            clock=parts.outside.clock,
        )

    def _login(self) -> Login:
        parts = self._parts
        return Login(
            check=self._password_check(),
            devices=self._devices,
            users=parts.stores.users,
            factors=parts.stores.second_factors,
            codes=self._codes,
            challenges=LoginChallenges(self._vault(login_challenge.VAULT_PURPOSE), parts.outside.clock),
            sessions=parts.stores.sessions,
            new_sessions=self._new_sessions(),
            clients=parts.registry,
            clock=parts.outside.clock,
            random_bytes=parts.outside.random_bytes,
        )

    def _new_sessions(self) -> NewSessions:
        parts = self._parts
        return NewSessions(
            sessions=parts.stores.sessions,
            form=self._form,
            cache=parts.cache.sessions,
            mint=self._mint,
            access=self._access,
            lifetimes=parts.settings.lifetimes,
            clock=parts.outside.clock,
        )

    def _step_up(self) -> StepUp:
        parts = self._parts
        return StepUp(
            validator=self._validator,
            own_tokens=self._own_tokens,
            sessions=parts.stores.sessions,
            factors=parts.stores.second_factors,
            codes=self._codes,
            own_password=self._own_password,
            clients=parts.registry,
            announcer=parts.announcer,
            form=self._form,
            cache=parts.cache.sessions,
            mint=self._mint,
            access=self._access,
            clock=parts.outside.clock,
        )

    def _second_factors(self) -> SecondFactors:
        parts, settings = self._parts, self._parts.settings
        return SecondFactors(
            store=parts.stores.second_factors,
            users=parts.stores.users,
            audit=parts.stores.audit,
            codes=self._codes,
            own_password=self._own_password,
            vault=self._vault(one_time_codes.VAULT_PURPOSE),
            issuer_name=settings.totp_issuer or urlsplit(settings.issuer).hostname or "",
            clock=parts.outside.clock,
            random_bytes=parts.outside.random_bytes,
        )

    def _vault(self, purpose: str) -> Vault:
        return Vault(self._parts.settings.secrets, purpose, self._parts.outside.random_bytes)

    def _refresh(self) -> Refresh:
        parts = self._parts
        return Refresh(
            sessions=parts.stores.sessions,
            announcer=parts.announcer,
            late_uses=parts.late_uses,
            clients=parts.registry,
            mint=self._mint,
            access=self._access,
            clock=parts.outside.clock,
            random_bytes=parts.outside.random_bytes,
        )

    def _revoke(self) -> Revoke:
        parts = self._parts
        return Revoke(
            parts.stores.sessions,
            parts.view,
            parts.announcer,
            self._mint,
            self._own_tokens,
            parts.outside.clock,
        )

    def _introspect(self) -> Introspect:
        parts = self._parts
        return Introspect(
            mint=self._mint,
            validator=self._validator,
            sessions=parts.stores.sessions,
            own_tokens=self._own_tokens,
            tail=parts.tail,
            clock=parts.outside.clock,
        )

    def _change_password(self) -> ChangePassword:
        parts = self._parts
        return ChangePassword(
            users=parts.stores.users,
            own_password=self._own_password,
            passwords=parts.passwords,
            rules=self._password_rules(),
            announcer=parts.announcer,
            clock=parts.outside.clock,
        )

    def _password_rules(self) -> PasswordRules:
        settings = self._parts.settings
        host = urlsplit(settings.issuer).hostname or ""
        return PasswordRules(settings.password_min_length, words_of_issuer(host))

    def _users(self) -> Users:
        parts = self._parts
        return Users(
            store=parts.stores.users,
            announcer=parts.announcer,
            passwords=parts.passwords,
            rules=self._password_rules(),
            clock=parts.outside.clock,
            random_bytes=parts.outside.random_bytes,
        )

    def _clients(self) -> Clients:
        parts = self._parts
        return Clients(
            store=parts.stores.clients,
            registry=parts.registry,
            hints=parts.cache.hints,
            mint=self._mint,
            clock=parts.outside.clock,
        )

    def _explain(self) -> Explain:
        parts = self._parts
        return Explain(
            issuer=parts.settings.issuer,
            mint=self._mint,
            sessions=parts.stores.sessions,
            cache=parts.cache.sessions,
            clients=parts.stores.clients,
            signing_keys=parts.signing_keys,
            evidence=parts.stores.evidence,
            view=parts.view,
            clock=parts.outside.clock,
        )


def join_rules(parts: Parts) -> Services:
    """Return all that the servicers call."""
    return _Rules(parts).services()
