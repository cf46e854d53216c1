"""Owns checking this deployment's own access tokens. Leaves the strict profile to authsvc_client.strict.

Signature and claims are remembered per token; revocation is asked of the view on every call.
"""

from authsvc.core.clock import Clock
from authsvc.core.errors import AccessTokenExpired, AccessTokenInvalid, AccessTokenRevoked
from authsvc.core.signing_keys import Keys
from authsvc.core.view import View
from authsvc_client.strict import AccessToken, TokenExpired, TokenRejected, UnknownKey, VerifiedTokens
from authsvc_client.strict.compact import split
from authsvc_client.strict.jws import read_header


class OwnTokens:
    """Checks access tokens that this deployment issued, for any audience."""

    def __init__(self, issuer: str, keys: Keys, view: View, clock: Clock) -> None:
        self._verified = VerifiedTokens(issuer)
        self._keys = keys
        self._view = view
        self._clock = clock

    def check(self, token: str) -> AccessToken:
        """Return what the token says. Raises AccessTokenExpired, AccessTokenInvalid, AccessTokenRevoked."""
        try:
            verified = self._verified.verify(token, self._keys.ring.key_set, now=self._clock())
        except TokenExpired:
            raise AccessTokenExpired from None
        except UnknownKey:
            raise AccessTokenRevoked if self._names_tainted_key(token) else AccessTokenInvalid from None
        except TokenRejected:
            raise AccessTokenInvalid from None
        if self._view.revokes(
            verified.session_id, verified.subject, verified.issued_at
        ) or self._view.revokes_key(verified.key_id):
            raise AccessTokenRevoked
        return verified

    def _names_tainted_key(self, token: str) -> bool:
        """Whether a token whose key is unknown names one that was known: its holder is told to refresh."""
        key_id = read_header(split(token).header).get("kid")
        return isinstance(key_id, str) and self._view.revokes_key(key_id)
