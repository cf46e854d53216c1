"""What tests of watchers do at the service they watch."""

from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service

SESSION_AUDIENCE = "orders"


async def logged_in(service: Service) -> pb.LoginResponse:
    """A session of alice's, with an access token for orders."""
    response: pb.LoginResponse = await service.login(audiences=[SESSION_AUDIENCE])
    return response


async def revoke(service: Service, session_id: str) -> int:
    """Revoke a session as an admin does; return the revision."""
    request = pb.RevokeRequest(session_id=session_id)
    response = await service.auth.Revoke(request, metadata=service.by("root"))
    return response.revision
