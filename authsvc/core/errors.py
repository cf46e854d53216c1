"""Owns every way in which the rules refuse. Leaves status codes and wire details to `authsvc.rpc.errors`.

Names read as sentences. The text of a Refusal is for the caller: fixed words, nothing internal, no input echoed.
"""


class Refusal(Exception):
    """The base of every refusal; its `message` is safe to show to the caller."""

    message = "The call was refused."

    def __init__(self) -> None:
        super().__init__(self.message)


class InvalidCredentials(Refusal):
    message = "Username and password do not match an account that can log in."


class InvalidOneTimeCode(Refusal):
    message = "The code is wrong, or has been used."


class ChallengeNotActive(Refusal):
    message = "The challenge is not active. Log in anew."


class SecondFactorNotEnrolled(Refusal):
    message = "The user has no second factor that this could be about."


class CredentialsMissing(Refusal):
    message = (
        "The call needs `authorization` metadata: Bearer <client key, access token or session token>; or a client's "
        "certificate, where those are asked for."
    )


class CallerUnauthenticated(Refusal):
    message = "The `authorization` metadata, or the certificate, names no active caller."


class CallerNotPermitted(Refusal):
    message = "The caller may not do this."


class ScopeInsufficient(Refusal):
    message = "The token lacks a scope that is needed."


class OriginNotAllowed(Refusal):
    message = "The request did not begin at a page that may act for the user."


class AccessTokenExpired(Refusal):
    message = "The access token has expired."


class AccessTokenInvalid(Refusal):
    message = "The access token is not acceptable."


class AccessTokenRevoked(Refusal):
    message = "The access token has been revoked."


class SessionNotActive(Refusal):
    message = "The session is not active."


class RefreshTokenNotActive(Refusal):
    message = "The refresh token is not active."


class RefreshTokenReused(Refusal):
    message = "The refresh token had been used before; its session is revoked."


class InvalidRequest(Refusal):
    """One or more fields are wrong. `violations` are (field, what is wrong) pairs."""

    message = "The request is not valid."

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__()
        self.violations = violations


class PasswordTooWeak(Refusal):
    """The new password breaks a rule. `rule` says which, in a sentence."""

    message = "The password does not meet the rules."

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule


class TooManyAttempts(Refusal):
    """Back off for `retry_ms`."""

    message = "Too many attempts. Try again later."

    def __init__(self, retry_ms: int) -> None:
        super().__init__()
        self.retry_ms = retry_ms


class Overloaded(Refusal):
    """The instance sheds load; `retry_ms` is a guess at when it is worth trying again."""

    message = "The service is busy. Try again shortly."

    def __init__(self, retry_ms: int = 1000) -> None:
        super().__init__()
        self.retry_ms = retry_ms


class Stopping(Refusal):
    message = "The instance is stopping. Ask again; another one will answer."


class ViewTooOld(Refusal):
    message = "The instance has not heard of revocations for too long to answer."


class RevisionNotReached(Refusal):
    message = "The instance did not reach the revision asked for in time."


class UsernameTaken(Refusal):
    message = "Another user has this username."


class ClientIdTaken(Refusal):
    message = "Another client has this id."


class CertificateNameTaken(Refusal):
    message = "Another active client has one of these certificate names."


class NotFound(Refusal):
    message = "There is no such thing."


class SigningKeysNotManaged(Refusal):
    message = "The signing keys are given by the settings of this deployment; change them there."
