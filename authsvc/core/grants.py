"""Owns what clients' registrations let them get: audiences and scopes. Leaves what a user may be granted to the user.

A client never gets a token for an audience it is not registered for, nor with a scope it is not: at login, by
refreshing, and in exchange for the session token of another client. It is judged anew each time, by the registrations
as they are then, so that what is taken away from a client counts at once.
"""

from collections.abc import Sequence

from authsvc.core.errors import CallerNotPermitted
from authsvc.core.model import Client, Session
from authsvc.core.narrowing import narrowed

# Makes a user an administrator of authsvc itself. No client gets it unless it is registered for it by name.
ADMIN_SCOPE = "authsvc.admin"

Names = tuple[str, ...]


def allowed_audiences(client: Client | None, audiences: Sequence[str]) -> Names:
    """Return those of the audiences that the client is registered for; none for a client that is no more."""
    return () if client is None else tuple(each for each in audiences if each in client.audiences)


def allowed_scopes(client: Client | None, scopes: Sequence[str]) -> Names:
    """Return those of the scopes that the client may get. Without scopes of its own that is all but ADMIN_SCOPE."""
    if client is None:
        return ()
    if client.scopes:
        return tuple(each for each in scopes if each in client.scopes)
    return tuple(each for each in scopes if each != ADMIN_SCOPE)


def granted(
    session: Session, clients: Sequence[Client | None], audiences: Sequence[str], scopes: Sequence[str]
) -> tuple[Names, Names]:
    """Return the audiences and scopes of a new access token of the session: what each of the clients may have of the
    session's own, all of it or the part that is asked for.

    Raises InvalidRequest if more is asked for, CallerNotPermitted if no audience is left.
    """
    left, still = session.audiences, session.scopes
    for client in clients:
        left, still = allowed_audiences(client, left), allowed_scopes(client, still)
    if not left:
        raise CallerNotPermitted
    return narrowed(left, audiences, "audiences"), narrowed(still, scopes, "scopes")
