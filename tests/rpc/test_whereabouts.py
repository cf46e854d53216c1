"""Where a user is, over the wire: nobody escapes the throttle, or puts others into it, by saying so."""

from typing import Any

import pytest

from authsvc.core.audit_contract import EventFilter
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import Device
from tests.parts.service import PASSWORD, Service, outcome, run_service

FORWARDED = "x-forwarded-for"


async def log_in(service: Service, forwarded: str = "", reported: str = "", **typed: Any) -> str:
    """Log in as alice; where the session says that she is."""
    response: pb.LoginResponse = await call(service, forwarded, reported, **typed)
    return response.session.device.ip_address


def call(
    service: Service, forwarded: str = "", reported: str = "", name: str = "alice", password: str = PASSWORD
) -> Any:
    """A login by the client `web`."""
    request = pb.LoginRequest(username=name, password=password, device=Device(ip_address=reported))
    metadata = ((FORWARDED, forwarded),) if forwarded else ()
    return service.auth.Login(request, metadata=(*service.by("web"), *metadata))


async def guesses(service: Service, forwarded: str, reported: str = "") -> list[str]:
    """How eleven guesses at as many names end; `{n}` in what is said is another number each time."""
    return [
        await outcome(
            call(service, forwarded.format(n=n), reported.format(n=n), f"user{n}", "a wrong password")
        )
        for n in range(11)
    ]


ONE_TOO_MANY = ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"]
NONE_TOO_MANY = ["INVALID_CREDENTIALS"] * 11


async def test_forwarding_headers_of_no_proxy(service: Service) -> None:
    """By default nobody is a proxy: `x-forwarded-for` moves no user and resets no counter (TrustedHops._is_proxy)."""
    await service.add_user()

    seen = await log_in(service, forwarded="203.0.113.66", reported="192.0.2.9")
    found = await guesses(service, forwarded="203.0.113.{n}", reported="192.0.2.9")

    assert seen == "192.0.2.9"
    assert found == ONE_TOO_MANY


async def test_behind_a_proxy(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Behind a proxy its own word counts, and neither what was written before it nor what the message says."""
    hops = "127.0.0.0/8 ::1 client:*"
    async with run_service(sqlite_url, valkey.url, trusted_proxies=hops) as service:
        await service.add_user()

        seen = await log_in(service, forwarded="203.0.113.66, 192.0.2.9", reported="203.0.113.77")
        found = await guesses(service, forwarded="203.0.113.{n}, 192.0.2.9", reported="198.51.100.{n}")
        others = await guesses(service, forwarded="192.0.2.9, 203.0.113.{n}")

    assert seen == "192.0.2.9"
    assert found == ONE_TOO_MANY
    assert others[:3] == NONE_TOO_MANY[:3]


@pytest.mark.parametrize(("named", "seen"), [("client:web", "192.0.2.9"), ("client:app", "127.0.0.1")])
async def test_which_clients_may_say(sqlite_url: str, valkey: EmbeddedValkey, named: str, seen: str) -> None:
    """Where clients are named, one that is not, such as one in users' hands, is where it calls from."""
    async with run_service(sqlite_url, valkey.url, trusted_proxies=named) as service:
        await service.add_user()

        assert await log_in(service, reported="192.0.2.9") == seen
        found = await guesses(service, forwarded="", reported="198.51.100.{n}")

    assert found == (ONE_TOO_MANY if named == "client:app" else NONE_TOO_MANY)


async def test_a_users_own_calls(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """What a user does through a proxy is recorded where the user is."""
    async with run_service(sqlite_url, valkey.url, trusted_proxies="127.0.0.0/8 ::1") as service:
        token = (await service.login()).session_token
        metadata = (("authorization", f"Bearer {token}"), (FORWARDED, "203.0.113.66, 192.0.2.9"))

        await service.auth.Revoke(pb.RevokeRequest(token=token), metadata=metadata)
        events = await service.app.stores.audit.list_after(EventFilter(), 100, 0)

    assert [event.device.ip_address for event in events if event.event == "session.revoked"] == ["192.0.2.9"]
