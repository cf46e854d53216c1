"""Owns the list of what the servicers call. Leaves building it to authsvc.app."""

from dataclasses import dataclass

from authsvc.core.callers import Callers
from authsvc.core.change_password import ChangePassword
from authsvc.core.clients import Clients
from authsvc.core.exchange import Exchange
from authsvc.core.explain import Explain
from authsvc.core.feed import Feed
from authsvc.core.gate import Gate
from authsvc.core.introspect import Introspect
from authsvc.core.key_lifecycle import SigningKeys
from authsvc.core.list_audit_events import ListAuditEvents
from authsvc.core.list_security_events import ListSecurityEvents
from authsvc.core.list_sessions import ListSessions
from authsvc.core.login import Login
from authsvc.core.refresh import Refresh
from authsvc.core.revoke import Revoke
from authsvc.core.second_factors import SecondFactors
from authsvc.core.signing_keys import Keys
from authsvc.core.step_up import StepUp
from authsvc.core.tail import Tail
from authsvc.core.users import Users
from authsvc.core.validate import SessionValidator
from authsvc.core.view import View
from authsvc.rpc.cookie_delivery import CookieDelivery


@dataclass(frozen=True)
class Services:
    """Every operation of the core, and the state that answers quote."""

    issuer: str
    login: Login
    refresh: Refresh
    revoke: Revoke
    validator: SessionValidator
    exchange: Exchange
    introspect: Introspect
    list_sessions: ListSessions
    change_password: ChangePassword
    security_events: ListSecurityEvents
    second_factors: SecondFactors
    step_up: StepUp
    users: Users
    clients: Clients
    callers: Callers
    cookies: CookieDelivery
    gate: Gate
    explain: Explain
    audit_events: ListAuditEvents
    keys: Keys
    signing_keys: SigningKeys
    view: View
    tail: Tail
    feed: Feed
