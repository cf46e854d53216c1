"""One session from login to its end, through a real channel, on each database."""

import grpc
import grpc.aio
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, reason_of


async def test_one_login_gives_a_session_and_a_pair_that_end_together(service_on_each: Service) -> None:
    """Session token and token pair of one login are checked, renewed and revoked as one session."""
    service = service_on_each
    login = await service.login()
    gateway, web = service.by("gateway"), service.by("web")

    validated = await service.auth.ValidateSession(
        pb.ValidateSessionRequest(session_token=login.session_token), metadata=gateway
    )
    refreshed = await service.auth.Refresh(
        pb.RefreshRequest(refresh_token=login.tokens.refresh_token), metadata=web
    )
    revoked = await service.auth.Revoke(pb.RevokeRequest(token=refreshed.tokens.refresh_token), metadata=web)
    introspected = await service.auth.Introspect(
        pb.IntrospectRequest(token=refreshed.tokens.access_token), metadata=gateway
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.auth.ValidateSession(
            pb.ValidateSessionRequest(session_token=login.session_token), metadata=gateway
        )

    assert validated.session.id == refreshed.session.id == login.session.id
    assert (revoked.revision, revoked.revoked_count) == (1, 1)
    assert introspected == pb.IntrospectResponse()
    assert reason_of(refused.value) == "SESSION_NOT_ACTIVE"
