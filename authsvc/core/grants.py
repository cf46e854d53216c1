"""Owns what a client's registration lets it get: audiences and scopes. Leaves narrowing what was asked for to
`core.narrowing`, and what a user may be granted to the user.

A client never gets a token for an audience it is not registered for, nor with a scope it is not: at login, by
refreshing, and in exchange for a session token of another client's. It is judged anew each time, by the registration as
it is then, so that what is taken away from a client counts at once.
"""

from collections.abc import Sequence

from authsvc.core.model import Client

# Makes a user an administrator of authsvc itself. No client gets it unless it is registered for it by name.
ADMIN_SCOPE = "authsvc.admin"


def allowed_audiences(client: Client | None, audiences: Sequence[str]) -> tuple[str, ...]:
    """Return those of the audiences that the client is registered for; none for a client that is no more."""
    return () if client is None else tuple(each for each in audiences if each in client.audiences)


def allowed_scopes(client: Client | None, scopes: Sequence[str]) -> tuple[str, ...]:
    """Return those of the scopes that the client may get. Without scopes of its own that is all but ADMIN_SCOPE."""
    if client is None:
        return ()
    if client.scopes:
        return tuple(each for each in scopes if each in client.scopes)
    return tuple(each for each in scopes if each != ADMIN_SCOPE)
