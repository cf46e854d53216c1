"""Tokens of sessions that have ended, used nevertheless: what is on record of it, and how little."""

import asyncio
import os

from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.late_uses import LateUses
from authsvc.core.tokens import Kind, TokenMint
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, outcome, run_service
from tests.parts.valkey import until


async def late_uses(service: Service, session_id: str) -> list[admin.AuditEvent]:
    """The late uses of a session on record, newest first, once all that is noted has been written."""
    while service.app._late_uses._waiting:
        await service.app._late_uses.flush()
    request = admin.ListAuditEventsRequest(session_id=session_id, event="session.used_after_end")
    return list((await service.admin.ListAuditEvents(request, metadata=service.by("root"))).events)


async def test_after_a_revocation(service_on_each: Service) -> None:
    """Use of a token after its session was revoked is on record, with the session, its user, and why it had ended.
    (Guard: `note` in SessionValidator.validate and Refresh._not_rotated.)"""
    service = service_on_each
    login, other = await service.login(), await service.login("bob")
    await service.validate(login.session_token)
    for each in (login, other):
        await service.revoke(token=each.session_token)
    await outcome(service.validate(login.session_token))
    await outcome(service.refresh(other.tokens.refresh_token))

    [by_session], [by_refresh] = [await late_uses(service, each.session.id) for each in (login, other)]

    assert by_session.reason == "session token: revoked (logout)"
    assert by_refresh.reason == "refresh token: revoked (logout)"
    assert (by_session.user_id, by_session.client_id) == (login.session.user_id, "web")


async def test_after_the_end(service_on_each: Service) -> None:
    """So is use after expiry, found out in a batch too."""
    service = service_on_each
    login = await service.login()
    service.clock.move(DAY)
    request = pb.BatchValidateSessionsRequest(session_tokens=[login.session_token])
    await service.auth.BatchValidateSessions(request, metadata=service.by("gateway"))

    [found] = await late_uses(service, login.session.id)

    assert found.reason == "session token: expired"


async def test_once_an_hour(service_on_each: Service) -> None:
    """However often a dead token comes, there is one event an hour. (Guards: INSERT_EVENT_ONCE, and the ration
    in LateUses.note, which spares SQL the asking.)"""
    service = service_on_each
    login = await service.login()
    await service.revoke(token=login.session_token)
    for _ in range(20):
        await outcome(service.validate(login.session_token))
        await outcome(service.refresh(login.tokens.refresh_token))
    first = await late_uses(service, login.session.id)
    service.clock.move(HOUR + MINUTE)
    await outcome(service.validate(login.session_token))

    assert len(first) == 1
    assert len(await late_uses(service, login.session.id)) == 2


async def test_once_for_all_instances(database_url: str, valkey: EmbeddedValkey) -> None:
    """Of several instances one has the event. (Guard: the condition of INSERT_EVENT_ONCE.)"""
    async with run_service(database_url, valkey.url) as here, run_service(database_url, valkey.url) as there:
        login = await here.login()
        await here.revoke(token=login.session_token)
        for service in (here, there):
            await outcome(service.validate(login.session_token))
            await late_uses(service, login.session.id)

        assert len(await late_uses(there, login.session.id)) == 1


async def test_written_by_itself(service: Service) -> None:
    """An instance writes down what it has noted without being asked."""
    login = await service.login()
    await service.revoke(token=login.session_token)
    await outcome(service.validate(login.session_token))
    request = admin.ListAuditEventsRequest(event="session.used_after_end")

    async def is_on_record() -> bool:
        found = await service.admin.ListAuditEvents(request, metadata=service.by("root"))
        return bool(found.events)

    await until(is_on_record, within_s=10)


async def test_live_sessions_are_not_late(service: Service) -> None:
    """A session that SQL knows to be live is not on record as late, nor is a token that belongs to none."""
    login = await service.login()
    settings = service.app.settings
    session_hash = TokenMint(settings.secrets, os.urandom).hash_of(Kind.SESSION, login.session_token)
    for each in (session_hash, bytes(32)):
        service.app._late_uses.note(each)

    assert await late_uses(service, login.session.id) == []


async def test_a_flood_is_bounded(service: Service) -> None:
    """Notes that wait are bounded, and nobody waits for them to be written."""
    late = LateUses(service.app.stores.sessions, service.app.stores.audit, service.clock)

    for _ in range(5_000):
        late.note(bytes(32))
    again = len(late._waiting)
    for number in range(5_000):
        late.note(number.to_bytes(32, "big"))

    assert again == 1
    assert len(late._waiting) == 1_000
    await asyncio.wait_for(late.flush(), 5)
    assert len(late._waiting) == 950
