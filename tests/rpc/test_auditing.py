"""Reading the audit log through the front door."""

import asyncio
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.clock import DAY, SECOND
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.service import MovableClock, Service, fields_of, outcome, refusal, run_service


async def audit(service: Service, **wanted: Any) -> pb.ListAuditEventsResponse:
    """List as the administrator."""
    request = pb.ListAuditEventsRequest(**wanted)
    return await service.admin.ListAuditEvents(request, metadata=service.by("root"))


async def test_a_session_from_login_to_logout(service_on_each: Service) -> None:
    """What happened to a session can be read: who did it, from where, through which client, and why."""
    service = service_on_each
    device = resources.Device(ip_address="192.0.2.7", user_agent="a browser", label="phone")
    login = await service.login(device=device)
    await service.refresh(login.tokens.refresh_token)
    await service.revoke(token=login.session_token, reason=resources.REVOKE_REASON_LOGOUT)

    found = (await audit(service, session_id=login.session.id)).events

    assert [event.event for event in found] == ["session.revoked", "token.rotated", "session.created"]
    created = found[-1]
    assert (created.user_id, created.session_id) == (login.session.user_id, login.session.id)
    assert (created.actor, created.client_id, created.device) == (login.session.user_id, "web", device)
    assert created.event_time.ToMilliseconds() == login.session.create_time.ToMilliseconds()
    assert found[0].reason == "logout"


async def test_pages(service_on_each: Service) -> None:
    """Pages hold every event once, newest first, also while more is written."""
    service = service_on_each
    for name in ("alice", "bob", "carol"):
        await service.add_user(name)
    everything = list((await audit(service, page_size=100)).events)
    found: list[pb.AuditEvent] = []
    token = ""

    while True:
        page = await audit(service, page_size=2, page_token=token)
        found += page.events
        token = page.next_page_token
        if not token:
            break
        await service.add_user(f"user-{len(found)}")

    assert found == everything
    assert [event.event_time.ToMilliseconds() for event in found] == sorted(
        (event.event_time.ToMilliseconds() for event in found), reverse=True
    )


async def test_following(service_on_each: Service) -> None:
    """With `after_id` come the events numbered above it, in order; 0 begins with the first there is."""
    service = service_on_each
    newest = max(event.id for event in (await audit(service)).events)
    await service.add_user("alice")
    await service.add_user("bob")

    found = await audit(service, after_id=newest, event="user.created")
    first = await audit(service, after_id=0, page_size=1)

    assert [event.user_id for event in found.events] == [service.user_ids["alice"], service.user_ids["bob"]]
    assert found.next_page_token == ""
    assert first.events[0].id == min(event.id for event in (await audit(service, page_size=100)).events)


async def test_times(service: Service) -> None:
    """Bounds are 'from' and 'before', to the millisecond and finer."""
    await service.add_user("alice")
    [created] = (await audit(service, event="user.created")).events
    at_ms = created.event_time.ToMilliseconds()

    def moment(nanoseconds: int) -> Timestamp:
        found = Timestamp()
        found.FromNanoseconds(at_ms * 1_000_000 + nanoseconds)
        return found

    async def count(**bounds: Timestamp) -> int:
        return len((await audit(service, event="user.created", **bounds)).events)

    assert [await count(start_time=moment(0)), await count(start_time=moment(1))] == [1, 0]
    assert [await count(end_time=moment(0)), await count(end_time=moment(1))] == [0, 1]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"user_id": "a" * 65}, "user_id"),
        ({"session_id": "nul\0"}, "session_id"),
        ({"event": "line\nbreak"}, "event"),
        ({"page_size": 101}, "page_size"),
        ({"page_size": -1, "after_id": 1}, "page_size"),
        ({"after_id": -1}, "after_id"),
        ({"after_id": 1, "page_token": "x"}, "page_token"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": "WyItMSIsICIxIl0="}, "page_token"),
        ({"page_token": "WyI5OTk5OTk5OTk5OTk5OTk5OTk5OSIsICIxIl0="}, "page_token"),
        ({"page_token": "WyLZoSIsICIxIl0="}, "page_token"),
        ({"start_time": Timestamp(seconds=2**62)}, "start_time"),
        ({"end_time": Timestamp(seconds=1, nanos=-1)}, "end_time"),
    ],
)
async def test_bad_requests(service: Service, wanted: dict[str, Any], field: str) -> None:
    """A wrong field is refused by name."""
    assert fields_of(await refusal(audit(service, **wanted))) == [field]


async def test_extreme_times_are_times(service_on_each: Service) -> None:
    """The first and the last moment that a Timestamp may name are fit for every database."""
    first, last = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=253_402_300_799, nanos=999_999_999)

    assert await outcome(audit(service_on_each, start_time=first, end_time=last)) == "OK"


OWNER = resources.Device(ip_address="192.0.2.7", user_agent="the owner's browser")
THIEF = resources.Device(ip_address="2001:db8::66", user_agent="the thief's script")


async def theft(service: Service) -> pb.AuditEvent:
    """The one event of a theft."""
    [event] = (await audit(service, event="token.reused")).events
    return event


async def test_both_parties_of_a_theft(service_on_each: Service) -> None:
    """A reuse names who used the token before and who used it now, when each did, and why it is a theft; which of the
    two is the thief nobody can know. (Guards: `rotated_ip_address` in `refreshing._ROTATE`, `other_device` in
    `refresh._end`.)"""
    service = service_on_each
    login = await service.login()
    stolen = (await service.refresh(login.tokens.refresh_token, device=OWNER)).tokens.refresh_token
    service.clock.stop()
    await service.refresh(stolen, device=THIEF)
    rotated_at = service.clock()
    service.clock.move(42 * SECOND)

    refused = await outcome(service.refresh(stolen, device=OWNER))

    event = await theft(service)
    assert refused == "REFRESH_TOKEN_REUSED"
    assert (event.device, event.event_time.ToMilliseconds()) == (OWNER, rotated_at + 42 * SECOND)
    assert (event.other_device, event.other_time.ToMilliseconds()) == (THIEF, rotated_at)
    assert (event.user_id, event.session_id) == (login.session.user_id, login.session.id)
    assert event.reason == "generation 1 of 2: 42 s after it was replaced"


async def test_why_it_is_a_theft(service_on_each: Service) -> None:
    """The verdict says so when the successor had been used, or had been handed out too often."""
    service = service_on_each
    first, second = [(await service.login(name)).tokens.refresh_token for name in ("alice", "bob")]
    successor = (await service.refresh(first)).tokens.refresh_token
    await service.refresh(successor)
    await outcome(service.refresh(first))
    used = await theft(service)
    for _ in range(5):
        await outcome(service.refresh(second))

    handed_out = (await audit(service, event="token.reused")).events[0]

    assert used.reason == "generation 0 of 2: its successor had been used"
    assert handed_out.reason == "generation 0 of 1: its successor had been handed out 3 times more"


async def test_where_the_caller_is(service: Service) -> None:
    """Without a device, a refresh is on record with where the caller is; of other events there is no other party."""
    login = await service.login()
    await service.refresh(login.tokens.refresh_token)

    [event] = (await audit(service, event="token.rotated")).events

    assert event.device.ip_address == "127.0.0.1"
    assert event.device.user_agent.startswith("grpc-python-asyncio/")
    assert not event.HasField("other_device")


async def test_renewals_name_the_user(service_on_each: Service) -> None:
    """A renewal is on record with the user whose session it is, and so is each time its reply is given again. (Guards:
    `coalesce` in per_row_of, of_row.)"""
    service = service_on_each
    login = await service.login()
    for _ in range(3):
        await service.refresh(login.tokens.refresh_token)

    found = (await audit(service, user_id=login.session.user_id, session_id=login.session.id)).events

    assert [event.event for event in found] == [
        "token.replayed",
        "token.replayed",
        "token.rotated",
        "session.created",
    ]
    assert {event.user_id for event in found} == {login.session.user_id}
    assert found[0].reason == "generation 0"


async def test_a_device_is_checked(service: Service) -> None:
    """What a refresh says of a device is bounded, and a refusal burns no token."""
    token = (await service.login()).tokens.refresh_token
    wrong = resources.Device(user_agent="a" * 513)

    assert fields_of(await refusal(service.refresh(token, device=wrong))) == ["device.user_agent"]
    assert await outcome(service.refresh(token)) == "OK"


async def test_old_events_go(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """A running instance forgets events older than AUTHSVC_AUDIT_RETENTION, and those alone."""
    async with run_service(sqlite_url, valkey.url) as service:
        await service.add_user("alice")
    later = MovableClock()
    later.move(31 * DAY)

    async with run_service(sqlite_url, valkey.url, later, audit_retention=30 * DAY) as service:
        await service.add_user("bob")
        async with asyncio.timeout(20):
            while True:
                left = [event.user_id for event in (await audit(service, event="user.created")).events]
                if left == [service.user_ids["bob"]]:
                    break
                await asyncio.sleep(0.01)
