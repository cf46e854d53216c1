"""Calls about a user's own things × whoever may or may not call them × {key or token, certificate}.

Which RPCs those are, the policy table says: one that is left to the rules and is not here fails. Each cell is a call
about alice's things; where a request names nobody, it is about whoever calls.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import pytest

from authsvc.rpc.policy import POLICY, Open
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.parts.authority import Signed
from tests.parts.every_rpc import Metadata
from tests.parts.service import PASSWORD, bearer, outcome
from tests.parts.tls_service import TlsService, run_tls_service
from tests.rpc.test_caller_matrix import log_in_admin, named, nameless

_DENIED, _MISSING = "CALLER_NOT_PERMITTED", "CREDENTIALS_MISSING"
_USERS = ("alice", "bob", "admin user")
_CLIENTS = ("owner", "other client", "introspect", "admin")
_CALLERS = ("nobody", *_CLIENTS, *_USERS)


class About(NamedTuple):
    """A request about alice's session or alice, and what each caller gets."""

    rpc: str
    make: Callable[[Any], Any]
    gets: dict[str, str]


def _whoever(*callers: str, but: dict[str, str] | None = None) -> dict[str, str]:
    """These get OK, all others are refused."""
    refused = {caller: _MISSING if caller == "nobody" else _DENIED for caller in _CALLERS}
    return refused | dict.fromkeys(callers, "OK") | (but or {})


def _about_callers(found: str = "OK") -> dict[str, str]:
    """Users get this about themselves; clients are nobody who could have such things."""
    return _whoever(but=dict.fromkeys(_USERS, found))


ABOUT = {
    "Revoke by token": About(
        "Revoke",
        lambda login: pb.RevokeRequest(token=login.session_token),
        # Who holds a token may end it; a client only sessions of its own. Bob came through the same client.
        _whoever("nobody", "owner", "admin", *_USERS),
    ),
    "Revoke by session": About(
        "Revoke",
        lambda login: pb.RevokeRequest(session_id=login.session.id),
        _whoever("admin", "alice", "admin user"),
    ),
    "Revoke by user": About(
        "Revoke",
        lambda login: pb.RevokeRequest(user_id=login.session.user_id),
        _whoever("admin", "alice", "admin user"),
    ),
    "Revoke others": About("Revoke", lambda _: pb.RevokeRequest(other_sessions=True), _about_callers()),
    "ListSessions": About(
        "ListSessions",
        lambda login: pb.ListSessionsRequest(user_id=login.session.user_id),
        _whoever("admin", "alice", "admin user"),
    ),
    "ListSessions of oneself": About(
        "ListSessions",
        lambda _: pb.ListSessionsRequest(),
        _about_callers() | {"admin": "INVALID_REQUEST"},
    ),
    "ChangePassword": About(
        "ChangePassword",
        lambda _: pb.ChangePasswordRequest(current_password=PASSWORD, new_password=f"{PASSWORD} anew"),
        _about_callers(),
    ),
    "ListSecurityEvents": About(
        "ListSecurityEvents", lambda _: pb.ListSecurityEventsRequest(), _about_callers()
    ),
    "GetSecondFactor": About(
        "GetSecondFactor",
        lambda login: pb.GetSecondFactorRequest(user_id=login.session.user_id),
        _whoever("admin", "alice", "admin user"),
    ),
    "EnrollTotp": About("EnrollTotp", lambda _: pb.EnrollTotpRequest(password=PASSWORD), _about_callers()),
    "ConfirmTotp": About(
        "ConfirmTotp",
        lambda _: pb.ConfirmTotpRequest(one_time_code="123456"),
        _about_callers("SECOND_FACTOR_NOT_ENROLLED"),
    ),
    "DisableTotp": About(
        "DisableTotp",
        lambda _: pb.DisableTotpRequest(one_time_code="123456"),
        _about_callers("SECOND_FACTOR_NOT_ENROLLED"),
    ),
    "RegenerateRecoveryCodes": About(
        "RegenerateRecoveryCodes",
        lambda _: pb.RegenerateRecoveryCodesRequest(one_time_code="123456"),
        _about_callers("SECOND_FACTOR_NOT_ENROLLED"),
    ),
}


@pytest.fixture
async def tls(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[TlsService]:
    """An instance with a port for everybody and one for clients with certificates."""
    async with run_tls_service(tmp_path, sqlite_url, valkey.url) as running:
        yield running


_CLIENT_IDS = {"owner": "web", "other client": "app", "introspect": "gateway", "admin": "root"}


def test_every_rpc_about_users_is_here() -> None:
    """Each RPC that the policy leaves to the rules has its cells."""
    judged = {name.rpartition("/")[2] for name, row in POLICY.items() if row.needs is Open.JUDGED}

    assert {about.rpc for about in ABOUT.values()} == judged
    assert all(about.gets.keys() == set(_CALLERS) for about in ABOUT.values())


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("way", ["key or token", "certificate"])
async def test_about_a_user(tls: TlsService, name: str, way: str) -> None:
    """Of what is alice's, alice and administrators get it, by key, token or certificate; another user, and clients that
    it is none of their business, do not. (Guards: `_require_own`, `_whose`, `calling_user`.)"""
    about, with_certificates = ABOUT[name], way == "certificate"
    admins = await log_in_admin(tls)
    target, found = await tls.login("alice"), {}

    for caller in _CALLERS:
        metadata, certificate = await _shown(tls, caller, with_certificates, admins)
        async with tls.connect(certificate, mtls=certificate is not None) as channel:
            found[caller] = await _outcome(channel, about, target, metadata)

    expected = dict(about.gets)
    if with_certificates:
        expected["nobody"] = "CALLER_UNAUTHENTICATED"  # a certificate that names nobody is no client's
    assert found == expected


async def _outcome(channel: grpc.aio.Channel, about: About, target: Any, metadata: Metadata) -> str:
    call: Callable[..., Awaitable[Any]] = getattr(AuthServiceStub(channel), about.rpc)
    return await outcome(call(about.make(target), metadata=metadata, timeout=10))


async def _shown(
    tls: TlsService, caller: str, with_certificates: bool, admins: Any
) -> tuple[Metadata, Signed | None]:
    """What a caller shows: a client its key or its certificate, a user a token, and beside it a certificate, or not."""
    nobodys = nameless(tls) if with_certificates else None
    if caller in _CLIENT_IDS:
        client_id = _CLIENT_IDS[caller]
        return ((), await named(tls, client_id)) if with_certificates else (tls.by(client_id), None)
    if caller == "nobody":
        return (), nobodys
    login = admins if caller == "admin user" else await tls.login(caller)
    return bearer(login.session_token), nobodys
