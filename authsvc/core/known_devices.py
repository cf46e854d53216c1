"""Owns the credential of a known device: one that its user has logged in from. Leaves what it is good for to
core.password_check.

    atd_<base64url(key id 1 | user id 16 | device id 8 | password changed at 6 | expires at 6 | MAC 20)>

It logs nobody in. Whoever holds one is not slowed down by what strangers guess; guesses made with it are counted apart,
by device. Nothing is stored: a keyed BLAKE2b (RFC 7693 §2.9) of 160 bits under a key derived from the deployment
secrets says that this deployment made it. It ends with its time, and with the password it was earned by.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from authsvc.core.clock import Clock
from authsvc.core.ids import RandomBytes
from authsvc.core.model import User
from authsvc.core.secrets import DeploymentSecrets

DEVICE_TOKEN_LENGTH = 80
_PREFIX = "atd_"
_PERSON = _PREFIX.encode()
_MAC_BYTES = 20
_ID_BYTES = 8
_TIME_BYTES = 6


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """What a credential says: which device, of which user, and when the password was set that it was earned by."""

    id: bytes
    user_id: str
    password_changed_at: int

    def is_of(self, user: User) -> bool:
        """Whether it is this user's, with the password as it is now."""
        return self.user_id == user.id and self.password_changed_at == user.password_changed_at


class KnownDevices:
    """Makes and recognises credentials that are good for `lifetime_ms`; 0: no device is known. Does no I/O."""

    def __init__(
        self, secrets: DeploymentSecrets, lifetime_ms: int, clock: Clock, random_bytes: RandomBytes
    ) -> None:
        self._current = secrets.current_id
        self._keys = secrets.derive("known device")
        self._lifetime_ms = lifetime_ms
        self._clock = clock
        self._random_bytes = random_bytes

    def make(self, user: User, presented: str = "") -> str:
        """Return the credential of the device that this user has just logged in from, renewed if it `presented` one.

        Empty if no device is known here.
        """
        if not self._lifetime_ms:
            return ""
        before = self.get(presented)
        device_id = before.id if before and before.is_of(user) else self._random_bytes(_ID_BYTES)
        body = bytes([self._current]) + UUID(user.id).bytes + device_id
        for time in (user.password_changed_at, self._clock() + self._lifetime_ms):
            body += time.to_bytes(_TIME_BYTES, "big")
        return _PREFIX + base64.urlsafe_b64encode(body + _mac(self._keys[self._current], body)).decode()

    def get(self, text: str) -> KnownDevice | None:
        """Return what a credential of this deployment says, if its time is not over. Whose it is, is for `is_of`."""
        if len(text) != DEVICE_TOKEN_LENGTH or not text.startswith(_PREFIX) or not self._lifetime_ms:
            return None
        try:
            content = base64.b64decode(text.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, key = content[:-_MAC_BYTES], self._keys.get(content[0])
        if key is None or not hmac.compare_digest(_mac(key, body), content[-_MAC_BYTES:]):
            return None
        expires_at = int.from_bytes(body[-_TIME_BYTES:], "big")
        if self._clock() >= expires_at:
            return None
        changed_at = int.from_bytes(body[-2 * _TIME_BYTES : -_TIME_BYTES], "big")
        return KnownDevice(body[17 : 17 + _ID_BYTES], str(UUID(bytes=body[1:17])), changed_at)


def _mac(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_MAC_BYTES, key=key, person=_PERSON).digest()
