"""A bounded memory of tokens that passed, so that the same text is verified once.

Only what cannot change during a token's life is remembered. Audience, scope and revocation are asked on
every call, by the caller; the key is asked again here, because a key set may drop or replace it.

Two generations: reads that hit the old one move the entry to the young one; when the young one is full it
becomes the old one and the old one is forgotten. So the memory is bounded, forgetting costs one assignment,
what is used stays, and no step iterates over a dictionary that another thread may be changing.
"""

from authsvc_client.strict.keys import Key, KeySet
from authsvc_client.strict.profile import LEEWAY_MS, AccessToken, verify_with_key

_Entry = tuple[AccessToken, Key]


class VerifiedTokens:
    """Verifies access tokens of one issuer and remembers those that passed, until their `exp`.

    Safe to share between threads: at worst two of them verify the same token.
    """

    __slots__ = ("_generation_limit", "_issuer", "_leeway_ms", "_old", "_young")

    def __init__(self, issuer: str, *, leeway_ms: int = LEEWAY_MS, limit: int = 10_000) -> None:
        """Holds at most `limit` tokens. Raises ValueError without an issuer, or below a limit of 2."""
        if not issuer:
            raise ValueError("an issuer is required")
        if limit < 2:
            raise ValueError("limit must be at least 2")
        self._issuer = issuer
        self._leeway_ms = leeway_ms
        self._generation_limit = limit // 2
        self._young: dict[str, _Entry] = {}
        self._old: dict[str, _Entry] = {}

    def verify(self, token: str, keys: KeySet, *, now: int) -> AccessToken:
        """The access token in `token`, under the key set now in force. Raises a TokenRejected.

        A remembered token passes only before `exp` (leeway is for the full check) and only while `keys`
        still holds the very key that signed it.
        """
        entry = self._young.get(token) or self._recall(token)
        if entry is not None:
            access, key = entry
            held = keys.get(key.key_id)
            if now < access.expires_at and (held is key or held == key):  # the very same one, nearly always
                return access
            self._forget(token)
        access, key = verify_with_key(token, keys, issuer=self._issuer, now=now, leeway_ms=self._leeway_ms)
        if now < access.expires_at:
            self._remember(token, (access, key))
        return access

    def clear(self) -> None:
        """Forgets everything."""
        self._young, self._old = {}, {}

    def __len__(self) -> int:
        """How many tokens are held, counting one that is in both generations twice."""
        return len(self._young) + len(self._old)

    def _recall(self, token: str) -> _Entry | None:
        entry = self._old.get(token)
        if entry is not None:
            self._remember(token, entry)
        return entry

    def _remember(self, token: str, entry: _Entry) -> None:
        if len(self._young) >= self._generation_limit:
            self._young, self._old = {}, self._young
        self._young[token] = entry

    def _forget(self, token: str) -> None:
        self._young.pop(token, None)
        self._old.pop(token, None)
