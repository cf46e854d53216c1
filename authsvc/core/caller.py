"""Owns what is known of whoever calls. Leaves finding that out to `core.callers`."""

from dataclasses import dataclass, field

from authsvc.core.errors import CallerNotPermitted, CredentialsMissing
from authsvc.core.model import Permission


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. A client has a `client_id` and no `user_id`; a user has both and a `session_id`."""

    permissions: frozenset[Permission] = frozenset()
    client_id: str = ""
    user_id: str = ""
    session_id: str = ""
    sees_usernames: bool = field(init=False)
    """Whether the caller may see whose session any session is: a client with `login`, an admin."""

    def __post_init__(self) -> None:
        # Once per caller, not once per session shown.
        sees = Permission.LOGIN in self.permissions or Permission.ADMIN in self.permissions
        object.__setattr__(self, "sees_usernames", sees)

    def has(self, permission: Permission) -> bool:
        """Whether the caller has this permission: a client that was given it, or a user who is an administrator."""
        return permission in self.permissions

    @property
    def is_known(self) -> bool:
        """Whether this is anybody at all."""
        return bool(self.client_id)

    @property
    def is_client(self) -> bool:
        """Whether this is a client speaking for itself."""
        return bool(self.client_id) and not self.user_id

    @property
    def actor(self) -> str:
        """The caller's name in the audit log."""
        return self.user_id or self.client_id or "nobody"

    def may_see_username(self, user_id: str) -> bool:
        """Whether the caller may see the name of this user: the user, a client with `login`, an admin."""
        return self.sees_usernames or self.user_id == user_id


NOBODY = Caller()


def calling_user(caller: Caller) -> str:
    """Return the id of the calling user. Raises CredentialsMissing, or CallerNotPermitted if a client calls."""
    if not caller.user_id:
        raise CallerNotPermitted if caller.is_known else CredentialsMissing
    return caller.user_id
