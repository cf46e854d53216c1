"""Every way to say no. Each error is one fixed sentence and never repeats what the token said.

Two trees: `TokenRejected` is about a token, `KeyRefused` and `KeySetRefused` are about keys. How a
refusal looks on the wire is decided elsewhere.
"""


class TokenRejected(Exception):
    """The token must not be believed. Catch this one; the subclasses say why."""

    message = "The token was refused."

    def __init__(self) -> None:
        super().__init__(self.message)


class TokenMalformed(TokenRejected):
    """Not a compact JWS with JSON objects inside, read strictly (RFC 7515 §5.2, RFC 8725 §3.7)."""

    message = "The token is not well formed."


class TokenTooLarge(TokenMalformed):
    """Longer than 4 KiB, refused before anything is decoded."""

    message = "The token is too large."


class HeaderRefused(TokenRejected):
    """The header carries a member that would change how the token is read (RFC 8725 §3.10)."""

    message = "The token's header is not allowed."


class WrongAlgorithm(TokenRejected):
    """`alg` is not exactly the algorithm of the key (RFC 8725 §3.1)."""

    message = "The token's algorithm is not the key's."


class UnknownKey(TokenRejected):
    """No `kid`, or one that the key set in force does not hold. Worth one background fetch, no more."""

    message = "The token's key is not known."


class BadSignature(TokenRejected):
    """The signature does not verify."""

    message = "The token's signature is not valid."


class WrongType(TokenRejected):
    """`typ` is not an access token's (RFC 9068 §4, RFC 8725 §3.11)."""

    message = "The token is not an access token."


class WrongIssuer(TokenRejected):
    """`iss` is another issuer's."""

    message = "The token is from another issuer."


class _ClaimRejected(TokenRejected):
    """`claim` names the claim at fault: one of the profile's own names, never the token's text."""

    def __init__(self, claim: str) -> None:
        super().__init__()
        self.claim = claim

    def __reduce__(self) -> tuple[type["_ClaimRejected"], tuple[str]]:
        return type(self), (self.claim,)


class ClaimMissing(_ClaimRejected):
    """A claim that every access token carries is absent (RFC 9068 §2.2)."""

    message = "The token lacks a required claim."


class ClaimInvalid(_ClaimRejected):
    """A claim has the wrong type, range or grammar."""

    message = "The token has an invalid claim."


class TokenExpired(TokenRejected):
    """`exp` has passed, leeway included."""

    message = "The token has expired."


class TokenNotYetValid(TokenRejected):
    """`nbf` or `iat` lies in the future, leeway included."""

    message = "The token is not valid yet."


class TokenRevoked(TokenRejected):
    """The token's session, user or key was revoked. Raised by whoever follows revocations."""

    message = "The token was revoked."


class WrongAudience(TokenRejected):
    """The token is meant for somebody else (RFC 8725 §3.9)."""

    message = "The token is for another audience."


class MissingScope(TokenRejected):
    """The token is good but does not carry every scope that the call asks for."""

    message = "The token lacks a required scope."


class KeyRefused(Exception):
    """A JWK that must not verify anything; the text says which rule it breaks."""


class KeySetRefused(Exception):
    """A JWK set that must not be used at all; the last good one stays in force."""
