"""What an access token of this issuer looks like, and nothing else passes (RFC 9068, RFC 8725).

`verify_access_token` judges what never changes during a token's life. Who may use it now is asked on every
call: audience and scopes here, revocation by whoever follows revocations.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from authsvc_client.strict.compact import split
from authsvc_client.strict.errors import (
    ClaimInvalid,
    ClaimMissing,
    MissingScope,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
    WrongType,
)
from authsvc_client.strict.jws import check_signature, read_header, read_object
from authsvc_client.strict.keys import MAX_KEY_ID_CHARS, Key, KeySet
from authsvc_client.strict.strictjson import MAX_INTEGER

LEEWAY_MS: Final = 15_000

# Compared exactly: media types ignore case (RFC 7515 §4.1.9), but our issuer writes one spelling only.
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
# RFC 6749 §3.3: printable ASCII without the quote and the backslash, one space between.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A verified access token. `…_at` are Unix milliseconds; `claims` are all claims as they were signed.

    `authenticated_at` is None when the token has no `auth_time`; `scopes`, `amr` and `acr` are empty when absent.
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    client_id: str
    token_id: str
    session_id: str
    issued_at: int
    expires_at: int
    authenticated_at: int | None
    scopes: frozenset[str]
    amr: tuple[str, ...]
    key_id: str
    claims: Mapping[str, Any] = field(compare=False, repr=False)
    acr: str = ""


def verify_access_token(
    token: str, keys: KeySet, *, issuer: str, now: int, leeway_ms: int = LEEWAY_MS
) -> AccessToken:
    """The access token in `token`, signed by a key of `keys`. Raises a TokenRejected.

    `now` is in Unix milliseconds. The audience is present but not judged: call `require_audience`. An
    empty `issuer` is a mistake of the caller's and raises ValueError.
    """
    return verify_with_key(token, keys, issuer=issuer, now=now, leeway_ms=leeway_ms)[0]


def verify_with_key(
    token: str, keys: KeySet, *, issuer: str, now: int, leeway_ms: int
) -> tuple[AccessToken, Key]:
    """Like `verify_access_token`, with the key that vouched for the token."""
    if not issuer:
        raise ValueError("an issuer is required")
    parts = split(token)
    header = read_header(parts.header)
    key = _find_key(header, keys)
    check_signature(parts, header, key)
    typ = header.get("typ")
    if type(typ) is not str or typ not in _TYPES:
        raise WrongType
    claims = read_object(parts.payload)
    if _text(claims, "iss") != issuer:
        raise WrongIssuer
    access = _read_claims(claims, key.key_id)
    _check_times(access, claims, now, leeway_ms)
    return access, key


def require_audience(token: AccessToken, audience: str) -> None:
    """Raises WrongAudience unless the token is meant for `audience`, compared exactly (RFC 8725 §3.9)."""
    if audience not in token.audiences:
        raise WrongAudience


def require_scopes(token: AccessToken, scopes: Collection[str]) -> None:
    """Raises MissingScope unless the token carries every one of `scopes`."""
    if isinstance(scopes, str):
        raise TypeError("scopes is a collection of names, not one text")
    if not token.scopes.issuperset(scopes):
        raise MissingScope


def _find_key(header: Mapping[str, Any], keys: KeySet) -> Key:
    key_id = header.get("kid")
    # The id is never anything but a key of a dictionary, so a short one of any content is harmless.
    if type(key_id) is not str or len(key_id) > MAX_KEY_ID_CHARS or (key := keys.get(key_id)) is None:
        raise UnknownKey
    return key


def _read_claims(claims: dict[str, Any], key_id: str) -> AccessToken:
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    if expires_at <= issued_at:
        raise ClaimInvalid("exp")
    subject, client_id = _text(claims, "sub"), _text(claims, "client_id")
    if subject == client_id:  # A client must never pass for a user (RFC 9700 §4.15).
        raise ClaimInvalid("sub")
    return AccessToken(
        issuer=claims["iss"],
        subject=subject,
        audiences=_audiences(claims),
        client_id=client_id,
        token_id=_text(claims, "jti"),
        session_id=_text(claims, "sid"),
        issued_at=issued_at,
        expires_at=expires_at,
        authenticated_at=_time(claims, "auth_time") if "auth_time" in claims else None,
        scopes=_scopes(claims["scope"]) if "scope" in claims else frozenset(),
        amr=_texts(claims["amr"], "amr") if "amr" in claims else (),
        key_id=key_id,
        claims=MappingProxyType(claims),
        acr=_text(claims, "acr") if "acr" in claims else "",
    )


def _check_times(token: AccessToken, claims: dict[str, Any], now: int, leeway_ms: int) -> None:
    """`exp` itself is already too late, `nbf` itself is not too early (RFC 7519 §4.1.4, §4.1.5)."""
    if now >= token.expires_at + leeway_ms:
        raise TokenExpired
    if now < token.issued_at - leeway_ms or ("nbf" in claims and now < _time(claims, "nbf") - leeway_ms):
        raise TokenNotYetValid


def _require(claims: dict[str, Any], name: str) -> Any:
    try:
        return claims[name]
    except KeyError:
        raise ClaimMissing(name) from None


def _text(claims: dict[str, Any], name: str) -> str:
    value = _require(claims, name)
    if type(value) is not str or not value:
        raise ClaimInvalid(name)
    return value


def _time(claims: dict[str, Any], name: str) -> int:
    """A NumericDate as milliseconds: whole seconds in 0…2^53, and neither a float nor a bool."""
    value = _require(claims, name)
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ClaimInvalid(name)
    return value * 1000


def _audiences(claims: dict[str, Any]) -> tuple[str, ...]:
    value = _require(claims, "aud")
    audiences = _texts([value] if type(value) is str else value, "aud")
    if not audiences:
        raise ClaimInvalid("aud")
    return audiences


def _texts(value: object, name: str) -> tuple[str, ...]:
    if type(value) is not list:
        raise ClaimInvalid(name)
    for each in value:
        if type(each) is not str or not each:
            raise ClaimInvalid(name)
    return tuple(value)


def _scopes(value: object) -> frozenset[str]:
    """The names in a `scope` text. No scopes is no claim, never an empty one."""
    if type(value) is not str or _SCOPE.fullmatch(value) is None:
        raise ClaimInvalid("scope")
    return frozenset(value.split(" "))
