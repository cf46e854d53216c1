"""Cached sessions are kept as answers show them: what comes back is what went in."""

from dataclasses import replace

from authsvc.core.cached_sessions import CachedForm
from authsvc.core.model import Device, Session
from authsvc.rpc.showing import SessionShowing
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service

NOW = 1_790_000_000_123
SESSION = Session(
    id="0198c0de-0000-7000-8000-000000000001",
    user_id="0198c0de-0000-7000-8000-000000000002",
    username="zoë\nwith a line break",
    client_id="web",
    scopes=("orders.read", "orders.write"),
    audiences=("orders",),
    amr=("pwd",),
    created_at=NOW,
    seen_at=NOW,
    session_expires_at=NOW + 43_200_001,
    session_idle_ms=1_800_000,
    refresh_expires_at=None,
    refresh_idle_ms=0,
    refresh_idle_expires_at=None,
    device=Device("192.0.2.1", "an agent\n", "a label"),
)


def test_a_session_comes_back_whole() -> None:
    """Every field of a session survives the cache, odd texts and missing deadlines too."""
    form = CachedForm(SessionShowing())

    for session in (SESSION, replace(SESSION, refresh_expires_at=NOW + 1, scopes=(), device=Device())):
        cached = form.write(session, seen_at=NOW, flushed_at=NOW)
        live = form.read(cached.body, cached.idle_expires_at)

        assert live.session == session
        assert (live.id, live.user_id, live.created_at) == (session.id, session.user_id, NOW)


async def test_from_the_cache_as_from_sql(service: Service) -> None:
    """A validation shows the same session whether the cache knew it or SQL had to be read."""
    login = await service.login()
    request = pb.BatchValidateSessionsRequest(session_tokens=[login.session_token])

    warm = await service.validate(login.session_token)
    batch = await service.auth.BatchValidateSessions(request, metadata=service.by("gateway"))
    service.app.cache.sessions.set_epoch(99)
    cold = await service.validate(login.session_token)

    for answer in (batch.results[0].session, cold.session):
        answer.last_seen_time.CopyFrom(warm.session.last_seen_time)
        answer.session_idle_expire_time.CopyFrom(warm.session.session_idle_expire_time)
        assert answer == warm.session
