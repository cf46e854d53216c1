"""Owns who calls the fake: from `authorization` metadata to a Caller, and whether a client has a permission."""

from collections.abc import Iterable
from typing import Final

from authsvc_client.testing.fake.deployment import Deployment
from authsvc_client.testing.fake.records import NOBODY, Caller
from authsvc_client.testing.fake.refusals import Refused
from authsvc_client.testing.fake.signing_in import validated

_BEARER: Final = "bearer "


def caller_of(deployment: Deployment, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
    """Who calls; NOBODY without `authorization`. Raises Refused for one that names nobody."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        return NOBODY
    bearer = values[0]
    if len(values) > 1 or not isinstance(bearer, str) or bearer[:7].lower() != _BEARER or len(bearer) == 7:
        raise Refused("CALLER_UNAUTHENTICATED")
    return _resolve(deployment, bearer[7:])


def require_permission(caller: Caller, permission: str) -> None:
    """Raises Refused unless the caller is a client with this permission."""
    if permission not in caller.permissions:
        raise Refused("CALLER_NOT_PERMITTED" if caller.is_known else "CREDENTIALS_MISSING")


def _resolve(deployment: Deployment, token: str) -> Caller:
    match token[:4]:
        case "atc_":
            client = deployment.client_of_key(token)
            if client is not None:
                return Caller(client.id, permissions=client.permissions)
        case "ats_":
            session = validated(deployment, token)
            if session is not None:
                return Caller(session.client_id, session.user.id, session.id)
        case "atr_":
            pass  # It renews; it does not speak for anybody.
        case _:
            access = deployment.check_access_token(token)
            return Caller(access.client_id, access.subject, access.session_id)
    raise Refused("CALLER_UNAUTHENTICATED")
