"""Owns what is wrong with an access token: its form, its key, its signature, its claims, its times, in the order in
which verifiers judge them. Leaves its session to `explain`, and the rules themselves to authsvc_client.strict.

Unlike a verifier it knows keys that are believed no more: that one of ours had signed the token is worth telling.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from authsvc.core.clock import SECOND
from authsvc.core.explanation import moment, passed, span
from authsvc.core.lifetimes import LEEWAY
from authsvc.core.model import KeyState, SigningKey
from authsvc_client.strict import (
    AccessToken,
    BadSignature,
    ClaimInvalid,
    ClaimMissing,
    HeaderRefused,
    Key,
    KeySet,
    TokenExpired,
    TokenMalformed,
    TokenNotYetValid,
    TokenRejected,
    TokenTooLarge,
    WrongAlgorithm,
    WrongIssuer,
    WrongType,
    verify_access_token,
)
from authsvc_client.strict.compact import split
from authsvc_client.strict.jws import check_signature, read_header, read_object

# A request takes its time, too: only more than this is the clocks' doing.
_CLOCKS_AGREE_MS = 2 * SECOND
_SHOWN_CHARS = 100


class NotOurs(Exception):
    """The token was never issued by this deployment, or not as an access token; the message is the finding."""


def read(token: str, keys: Sequence[SigningKey], issuer: str) -> tuple[AccessToken, SigningKey]:
    """Return what a token says that one of these keys has signed, whatever the time. Raises NotOurs."""
    header: Mapping[str, object] = {}
    claims: Mapping[str, object] = {}
    try:
        parts = split(token)
        header = found = read_header(parts.header)
        key = _key(header.get("kid"), keys)
        check_signature(parts, found, Key.from_jwk(json.loads(key.public_jwk)))
        claims = read_object(parts.payload)
        at = claims.get("iat")
        key_set = KeySet.from_jwks(f'{{"keys":[{key.public_jwk}]}}')
        # At the time it was issued: what time has done to it since is judged apart.
        now = at * SECOND if type(at) is int else 0
        return verify_access_token(token, key_set, issuer=issuer, now=now), key
    except WrongIssuer:
        raise NotOurs(f"Its issuer is {_shown(claims.get('iss'))}, and not {issuer}.") from None
    except WrongType:
        raise NotOurs(
            f"Its type is {_shown(header.get('typ'))}, and not at+jwt: it is no access token."
        ) from None
    except TokenRejected as error:
        raise NotOurs(_fault(error)) from None


def judge_key(key: SigningKey, now: int) -> Iterator[str]:
    """Say what is wrong with the key."""
    if key.state is KeyState.TAINTED and key.tainted_at is not None:
        why = f": {key.taint_comment}" if key.taint_comment else ""
        at = f"{span(now - key.tainted_at)} ago, at {moment(key.tainted_at)}"
        yield f"Its signing key {key.id} was tainted at revision {key.taint_revision}{why}; that was {at}."
    elif key.state is KeyState.RETIRED:
        yield f"Its signing key {key.id} is retired: no token signed by it can be good any more."


def judge_times(token: AccessToken, now: int) -> Iterator[str]:
    """Say what is wrong with its times."""
    if now >= token.expires_at:
        grace = " Verifiers allow for 15 s." if now < token.expires_at + LEEWAY else ""
        yield passed("It expired", token.expires_at, now) + grace
    if token.issued_at > now + _CLOCKS_AGREE_MS:
        ahead = span(token.issued_at - now)
        yield f"It was issued {ahead} in the future, at {moment(token.issued_at)}: the issuer's clock or ours is wrong."
    not_before = token.claims.get("nbf")
    if type(not_before) is int and not_before * SECOND > now:
        yield f"It is not good before {moment(not_before * SECOND)}."


def judge_audience(token: AccessToken, audience: str) -> Iterator[str]:
    """Say whether it is for somebody else."""
    if audience and audience not in token.audiences:
        yield f"It is for {', '.join(map(_shown, token.audiences))}, and not for {_shown(audience)}."


def judge_clock(token: AccessToken, now: int, verifier_at: int) -> Iterator[str]:
    """Say whether the clock of a verifier is wrong, and what the token's times look like there."""
    off = verifier_at - now
    if abs(off) <= _CLOCKS_AGREE_MS:
        return
    said = f"The verifier's clock is off by {off / SECOND:+.1f} s"
    if verifier_at >= token.expires_at + LEEWAY and now < token.expires_at:
        yield f"{said}: there the token expired {span(verifier_at - token.expires_at)} ago."
    elif verifier_at < token.issued_at - LEEWAY <= now:
        yield f"{said}: there the token is from the future, by {span(token.issued_at - verifier_at)}."
    else:
        yield f"{said}; {'more than' if abs(off) > LEEWAY else 'within'} the {LEEWAY // SECOND} s that are allowed for."


def _key(key_id: object, keys: Sequence[SigningKey]) -> SigningKey:
    for key in keys:
        if key.id == key_id:
            return key
    raise NotOurs(f"It is not ours: it names the key {_shown(key_id)}, and this deployment never had that.")


def _fault(error: TokenRejected) -> str:
    match error:
        case TokenTooLarge():
            return "It is longer than 4 KiB, more than any access token."
        case HeaderRefused():
            return "Its header carries a member that no access token may have, such as `jku` or `crit`."
        case WrongAlgorithm():
            return "It names one of our keys, but not the algorithm of that key: it was tampered with."
        case BadSignature():
            return "It names one of our keys, but its signature is not by that key: it was altered or forged."
        case ClaimMissing(claim=claim):
            return f"It lacks the claim `{claim}`, which every access token has."
        case ClaimInvalid(claim=claim):
            return f"Its claim `{claim}` is not as an access token's must be."
        case TokenExpired() | TokenNotYetValid():
            return "Its claim `nbf` lies after its `iat`."
        case TokenMalformed():
            return "It is no token of ours: neither one of the opaque kinds nor a well-formed JWT."
    return error.message


def _shown(value: object) -> str:
    """What a token says, short enough to read; those who print it see to its characters."""
    text = value if isinstance(value, str) else "missing" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
