"""What may be in `authorization`, and the stand-in of development. Each against every RPC; callers that are good are in
`test_caller_matrix`.
"""

from collections.abc import Awaitable, Callable

import pytest

from authsvc.core.model import Permission
from authsvc.core.tokens import TokenMint
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2
from tests.parts.every_rpc import CLIENT_LISTS, Metadata, let_in, outcomes, refused_everywhere
from tests.parts.service import Service, bearer, outcome, run_service


async def test_refresh_token(service: Service) -> None:
    """A refresh token renews; it never speaks for anybody."""
    login = await service.login()

    found = await outcomes(service.channel, bearer(login.tokens.refresh_token))

    assert found == refused_everywhere("CALLER_UNAUTHENTICATED")


async def unknown_key(service: Service) -> Metadata:
    """Minted under the deployment's secret, but of no client."""
    return bearer(TokenMint(service.app.settings.secrets, lambda size: bytes(size)).client_key().text)


async def wrong_key(service: Service) -> Metadata:
    key = service.keys["root"]
    return bearer(key[:-1] + ("A" if key[-1] != "A" else "B"))


async def _twice(service: Service) -> Metadata:
    return service.by("root") * 2


async def _two_callers(service: Service) -> Metadata:
    return service.by("root") + service.by("web")


def _said(value: Callable[[str], str]) -> Callable[[Service], Awaitable[Metadata]]:
    async def make(service: Service) -> Metadata:
        return (("authorization", value(service.keys["root"])),)

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(unknown_key, id="key of no client"),
        pytest.param(wrong_key, id="key with a wrong MAC"),
        pytest.param(_twice, id="authorization twice"),
        pytest.param(_two_callers, id="two authorizations"),
        pytest.param(_said(lambda key: key), id="no scheme"),
        pytest.param(_said(lambda key: f"Basic {key}"), id="other scheme"),
        pytest.param(_said(lambda _: "Bearer "), id="scheme alone"),
        pytest.param(_said(lambda key: f"Bearer{key}"), id="no space"),
        pytest.param(_said(lambda _: ""), id="empty"),
    ],
)
async def test_bad_authorization(service: Service, make: Callable[[Service], Awaitable[Metadata]]) -> None:
    """An `authorization` that names no active caller is refused alike for every reason, never taken for nobody's."""
    metadata = await make(service)

    assert await outcomes(service.channel, metadata) == refused_everywhere("CALLER_UNAUTHENTICATED")


@pytest.mark.parametrize("junk", ["x", "a.b.c", "ey.ey.ey", "atx_AAAA", "Bearer x"])
async def test_junk_bearer(service: Service, junk: str) -> None:
    """What is no token of ours is at best a bad access token."""
    assert await outcomes(service.channel, bearer(junk)) == refused_everywhere("ACCESS_TOKEN_INVALID")


async def test_scheme_ignores_case(service: Service) -> None:
    """`bearer` is `Bearer` (RFC 9110 §11.1)."""
    request = admin_service_pb2.ListUsersRequest()
    metadata = (("authorization", f"bEaReR {service.keys['root']}"),)

    assert await outcome(service.admin.ListUsers(request, metadata=metadata)) == "OK"


async def test_stand_in_of_development(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """In development, who calls from this machine without `authorization` may log in and introspect, not administer."""
    permissions = frozenset({Permission.LOGIN, Permission.INTROSPECT})
    expected = let_in(set(permissions), "CALLER_NOT_PERMITTED", **CLIENT_LISTS)

    async with run_service(sqlite_url, valkey.url, anonymous=permissions) as service:
        assert await outcomes(service.channel, ()) == expected


async def test_stand_in_is_for_nobody_only(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """In development too, a bad `authorization` is refused and not taken for none."""
    async with run_service(sqlite_url, valkey.url, anonymous=frozenset(Permission)) as service:
        found = await outcomes(service.channel, await wrong_key(service))

    assert found == refused_everywhere("CALLER_UNAUTHENTICATED")
