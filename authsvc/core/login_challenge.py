"""Owns the challenge between the two steps of a login: what it holds on to, and its text.

The text is sealed: nobody but this deployment can read it, make one or change one, and nothing is stored meanwhile. It
carries everything the first step asked for and was granted, so that the second can ask for nothing else; and the id of
the session to be, which can begin only once: the second use of a challenge finds that id taken.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass

from authsvc.core.clock import MINUTE, Clock
from authsvc.core.errors import ChallengeNotActive
from authsvc.core.model import Device
from authsvc.core.sealing import CannotUnseal, Vault

VAULT_PURPOSE = "login challenge"
LIFETIME = 5 * MINUTE
_PREFIX = "ath_"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants of a login. `session` and `tokens`: which credentials to issue; `cookies`: how to
    deliver them."""

    device: Device
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    session: bool = True
    tokens: bool = True
    remember: bool = False
    cookies: bool = False


@dataclass(frozen=True, slots=True)
class HalfDone:
    """A login whose password was right. `session_id`: of the session to be; `password_changed_at`: of that password."""

    session_id: str
    user_id: str
    password_changed_at: int
    expires_at: int
    wanted: Wanted


class LoginChallenges:
    """Seals and opens challenges."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def seal(self, half_done: HalfDone, client_id: str) -> str:
        """Return the challenge, for this client only."""
        content = json.dumps(asdict(half_done), separators=(",", ":")).encode()
        return _PREFIX + base64.urlsafe_b64encode(self._vault.seal(content, client_id)).decode().rstrip("=")

    def open(self, challenge_token: str, client_id: str) -> HalfDone:
        """Return what this client's challenge holds. Raises ChallengeNotActive."""
        try:
            half_done = _read(self._vault.unseal(_sealed(challenge_token), client_id))
        except CannotUnseal:
            raise ChallengeNotActive from None
        if self._clock() >= half_done.expires_at:
            raise ChallengeNotActive
        return half_done


def _sealed(challenge_token: str) -> bytes:
    """Raises ChallengeNotActive for what is no challenge's text."""
    if not challenge_token.startswith(_PREFIX) or not challenge_token.isascii():
        raise ChallengeNotActive
    body = challenge_token.removeprefix(_PREFIX)
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ChallengeNotActive from None


def _read(content: bytes) -> HalfDone:
    half_done = json.loads(content)
    wanted = half_done.pop("wanted")
    device = Device(**wanted.pop("device"))
    audiences, scopes = tuple(wanted.pop("audiences")), tuple(wanted.pop("scopes"))
    return HalfDone(**half_done, wanted=Wanted(device, audiences, scopes, **wanted))
