"""Strict verification of access tokens: pure functions of a token, a key set and the time.

Nothing here does I/O, reads a clock, starts a thread or imports grpc. Fetching key sets, following
revocations and guarding calls belong to the rooms around this one. The server imports this package to
check its own tokens, so both sides refuse the same things.

The rooms, in the order a token passes through them:

- `compact`     text to three decoded parts: size, alphabet, canonical base64url
- `strictjson`  bytes to a JSON object: strict UTF-8, no duplicates, bounded depth and numbers
- `algorithms`  the shipped signature algorithms, and how each builds its check from a public JWK
- `keys`        `Key`, `KeySet`, RFC 7638 thumbprints, public JWKs
- `jws`         `verify_jws`: a signature pinned to one key and its one algorithm
- `profile`     `verify_access_token`: what RFC 9068 and this issuer promise; per-call audience and scopes
- `remembered`  `VerifiedTokens`: a bounded memory of tokens that passed
- `errors`      every way to say no

A call reads:

    token = verified.verify(text, keys, now=clock())
    require_audience(token, "orders")
    require_scopes(token, {"orders.read"})
"""

from authsvc_client.strict.algorithms import ALGORITHMS, Algorithm
from authsvc_client.strict.errors import (
    BadSignature,
    ClaimInvalid,
    ClaimMissing,
    HeaderRefused,
    KeyRefused,
    KeySetRefused,
    MissingScope,
    TokenExpired,
    TokenMalformed,
    TokenNotYetValid,
    TokenRejected,
    TokenRevoked,
    TokenTooLarge,
    UnknownKey,
    WrongAlgorithm,
    WrongAudience,
    WrongIssuer,
    WrongType,
)
from authsvc_client.strict.jws import verify_jws
from authsvc_client.strict.keys import Key, KeySet, public_jwk, thumbprint
from authsvc_client.strict.profile import (
    AccessToken,
    require_audience,
    require_scopes,
    verify_access_token,
)
from authsvc_client.strict.remembered import VerifiedTokens

__all__ = [
    "ALGORITHMS",
    "AccessToken",
    "Algorithm",
    "BadSignature",
    "ClaimInvalid",
    "ClaimMissing",
    "HeaderRefused",
    "Key",
    "KeyRefused",
    "KeySet",
    "KeySetRefused",
    "MissingScope",
    "TokenExpired",
    "TokenMalformed",
    "TokenNotYetValid",
    "TokenRejected",
    "TokenRevoked",
    "TokenTooLarge",
    "UnknownKey",
    "VerifiedTokens",
    "WrongAlgorithm",
    "WrongAudience",
    "WrongIssuer",
    "WrongType",
    "public_jwk",
    "require_audience",
    "require_scopes",
    "thumbprint",
    "verify_access_token",
    "verify_jws",
]
