"""Owns who may call what, and how each RPC is run: one row per RPC. Leaves resolving callers to the interceptor.

The table is checked against the descriptors at start: an RPC without a row, or a row without an RPC, refuses to start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from authsvc.core.clock import SECOND
from authsvc.core.model import Permission
from authsvc.envoy import authorization_service_pb2
from authsvc.v1 import admin_service_pb2, auth_service_pb2


class Open(Enum):
    """Rows that ask for no permission of a client."""

    PUBLIC = auto()
    """Anybody; who calls is not even looked at."""
    JUDGED = auto()
    """Anybody who sends no `authorization` or a good one; the rule itself judges what they may do."""


class Shedding(Enum):
    """When calls of an RPC are refused because there are too many under way."""

    FIRST = auto()
    """Before others: what can wait."""
    LAST = auto()
    """When all there is room for is taken: what requests to other services wait for."""
    BEYOND = auto()
    """Only far beyond that: what ends something. Whoever is under attack must be able to."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one RPC is guarded and run.

    `writes`: runs to its end even if the caller goes away. `default_ms`: the deadline of a call that brings none.
    `quiet`: success is counted, not logged. `shed`: when there is too much to do.
    """

    needs: Permission | Open
    writes: bool = False
    default_ms: int = 2 * SECOND
    quiet: bool = False
    shed: Shedding = Shedding.FIRST


_ADMIN_READ = Row(Permission.ADMIN)
_ADMIN_WRITE = Row(Permission.ADMIN, writes=True)
_ADMIN_END = Row(Permission.ADMIN, writes=True, shed=Shedding.BEYOND)
_CHECK = Row(Permission.INTROSPECT, quiet=True, shed=Shedding.LAST)

POLICY: Mapping[str, Row] = {
    "authsvc.v1.AuthService/Login": Row(Permission.LOGIN, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AuthService/Refresh": Row(Permission.LOGIN, writes=True),
    "authsvc.v1.AuthService/Revoke": Row(Open.JUDGED, writes=True, shed=Shedding.BEYOND),
    "authsvc.v1.AuthService/ValidateSession": _CHECK,
    "authsvc.v1.AuthService/BatchValidateSessions": _CHECK,
    "authsvc.v1.AuthService/ExchangeSession": _CHECK,
    "authsvc.v1.AuthService/Introspect": Row(Permission.INTROSPECT, quiet=True),
    "authsvc.v1.AuthService/ListSessions": Row(Open.JUDGED),
    "authsvc.v1.AuthService/ChangePassword": Row(Open.JUDGED, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AuthService/ListSecurityEvents": Row(Open.JUDGED),
    "authsvc.v1.AuthService/StepUp": Row(Permission.LOGIN, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AuthService/GetSecondFactor": Row(Open.JUDGED),
    "authsvc.v1.AuthService/EnrollTotp": Row(Open.JUDGED, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AuthService/ConfirmTotp": Row(Open.JUDGED, writes=True),
    "authsvc.v1.AuthService/DisableTotp": Row(Open.JUDGED, writes=True),
    "authsvc.v1.AuthService/RegenerateRecoveryCodes": Row(Open.JUDGED, writes=True),
    "authsvc.v1.AuthService/GetKeySet": Row(Open.PUBLIC, quiet=True, shed=Shedding.LAST),
    "authsvc.v1.AuthService/Watch": Row(Permission.INTROSPECT),
    "envoy.service.auth.v3.Authorization/Check": _CHECK,
    "authsvc.v1.AdminService/CreateUser": Row(Permission.ADMIN, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AdminService/GetUser": _ADMIN_READ,
    "authsvc.v1.AdminService/ListUsers": _ADMIN_READ,
    "authsvc.v1.AdminService/SetPassword": Row(Permission.ADMIN, writes=True, default_ms=10 * SECOND),
    "authsvc.v1.AdminService/DisableUser": _ADMIN_END,
    "authsvc.v1.AdminService/EnableUser": _ADMIN_WRITE,
    "authsvc.v1.AdminService/SetScopes": _ADMIN_WRITE,
    "authsvc.v1.AdminService/ResetSecondFactor": _ADMIN_WRITE,
    "authsvc.v1.AdminService/CreateClient": _ADMIN_WRITE,
    "authsvc.v1.AdminService/UpdateClient": _ADMIN_WRITE,
    "authsvc.v1.AdminService/ListClients": _ADMIN_READ,
    "authsvc.v1.AdminService/RotateClientKey": _ADMIN_WRITE,
    "authsvc.v1.AdminService/RevokeClient": _ADMIN_END,
    "authsvc.v1.AdminService/ListSigningKeys": _ADMIN_READ,
    "authsvc.v1.AdminService/RotateSigningKey": _ADMIN_WRITE,
    "authsvc.v1.AdminService/TaintSigningKey": _ADMIN_END,
    "authsvc.v1.AdminService/ListAuditEvents": _ADMIN_READ,
    "authsvc.v1.AdminService/ExplainToken": _ADMIN_READ,
}

SERVICES: tuple[ServiceDescriptor, ...] = (
    auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    authorization_service_pb2.DESCRIPTOR.services_by_name["Authorization"],
)


class PolicyIncomplete(Exception):
    """An RPC has no row, or a row no RPC. The message names them."""


def methods(services: Iterable[ServiceDescriptor] = SERVICES) -> dict[str, MethodDescriptor]:
    """Return every RPC by its full name, `package.Service/Method`."""
    return {
        f"{service.full_name}/{name}": method for service in services for name, method in _sorted(service)
    }


def check_policy(
    policy: Mapping[str, Row] = POLICY, services: Iterable[ServiceDescriptor] = SERVICES
) -> None:
    """Return if every RPC has exactly one row. Raises PolicyIncomplete."""
    strays = set(policy) ^ set(methods(services))
    if strays:
        raise PolicyIncomplete(f"RPC and policy row must come together: {', '.join(sorted(strays))}")


def _sorted(service: ServiceDescriptor) -> list[tuple[str, MethodDescriptor]]:
    return sorted(service.methods_by_name.items())
