"""What an instance shows of itself to Prometheus."""

import asyncio
from typing import Any

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, outcome, run_service


def value(service: Service, name: str, **labels: str) -> float | None:
    """One number of the page."""
    return service.app.metrics.get_sample_value(name, labels)


async def test_the_cache(service: Service, valkey: EmbeddedValkey) -> None:
    """What the cache knew, what it did not, and whether it is there."""
    login = await service.login()
    await service.validate(login.session_token)
    await service.validate(login.session_token)
    found = {
        result: value(service, "authsvc_cache_lookups_total", result=result) for result in ("hit", "miss")
    }

    assert sum(filter(None, found.values())) == 2
    assert found["hit"]
    assert value(service, "authsvc_cache_up") == 1


async def test_a_cache_that_is_gone(service_on_own: Service, own_valkey: EmbeddedValkey) -> None:
    """A cache that does not answer shows at once, and in the count of look-ups that failed."""
    login = await service_on_own.login()
    await own_valkey.kill()

    await outcome(service_on_own.validate(login.session_token))
    async with asyncio.timeout(20):
        while value(service_on_own, "authsvc_cache_up") == 1:  # noqa: ASYNC110  another process has ended
            await asyncio.sleep(0.01)
    await service_on_own.validate(login.session_token)

    assert (value(service_on_own, "authsvc_cache_lookups_total", result="failed") or 0) >= 1


async def test_refusals(service: Service) -> None:
    """Refused calls are counted by method and reason; neither is the caller's to choose."""
    await outcome(service.validate("ats_made-up"))
    await outcome(service.validate("ats_made-up"))

    labels = {"grpc_service": "authsvc.v1.AuthService", "grpc_method": "ValidateSession"}
    assert value(service, "authsvc_calls_refused_total", **labels, reason="SESSION_NOT_ACTIVE") == 2


async def test_the_log(service: Service) -> None:
    """How new the view is, how large, and who follows."""
    login = await service.login()
    revision = (await service.revoke(token=login.session_token)).revision
    stream: Any = service.auth.Watch(pb.WatchRequest(), metadata=service.by("gateway"))
    await stream.read()
    followers = value(service, "authsvc_watch_followers")
    await service.app._tail.poll()

    assert followers == 1
    assert value(service, "authsvc_log_revision") == revision
    assert value(service, "authsvc_view_entries") == 1
    assert (value(service, "authsvc_view_age_seconds") or 99) < 5
    stream.cancel()


async def test_sql_and_keys(service: Service) -> None:
    """How long SQL takes, who waits for it, and since when the signing key signs."""
    await service.login()

    assert (value(service, "authsvc_sql_seconds_count", kind="read") or 0) > 0
    assert value(service, "authsvc_sql_failed_total") == 0
    assert value(service, "authsvc_sql_waiting", pool="writer") == 0
    assert value(service, "authsvc_signing_keys", state="active") == 1
    assert 0 <= (value(service, "authsvc_signing_key_age_seconds") or 0) < 600


async def test_housekeeping(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """Who cleans up shows what is left to do; of two instances that is one."""
    async with run_service(sqlite_url, valkey.url) as one, run_service(sqlite_url, valkey.url) as two:
        async with asyncio.timeout(20):
            while not (value(one, "authsvc_housekeeping_finished_seconds")):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        turns = [value(each, "authsvc_housekeeping_turn") for each in (one, two)]
        backlogs = [value(each, "authsvc_housekeeping_backlog", chore="sessions") for each in (one, two)]

    assert turns == [1, 0]
    assert backlogs == [0, None]
