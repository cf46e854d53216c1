"""Owns every way in which getting or attaching a token fails. Leaves reading statuses to `reasons`.

All are gRPC errors with a code and details, sync and asyncio alike: what a call raises because its token could not be
had is caught where the call's other failures are. None repeats a token. A bearer that would have to travel in the clear
is a mistake in the program instead: `plaintext`.
"""

from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio


class SignInFailed(grpc.aio.AioRpcError):
    """No token could be had just now; a later call may fare better. `reason` names the ErrorReason, if one is known."""

    def __init__(
        self, details: str, *, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, reason: str = ""
    ) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
        self.reason = reason

    def again(self) -> "SignInFailed":
        """The same error, to be raised for another caller."""
        return SignInFailed(self.details() or "", code=self.code(), reason=self.reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.details(), self.code(), self.reason)


class SessionEnded(SignInFailed):
    """The session is over and the source has no way to start another: somebody has to log in.

    Final: the source says so again on every call, without asking anybody. `reason` tells what ended it, such as
    REFRESH_TOKEN_NOT_ACTIVE, REFRESH_TOKEN_REUSED, SESSION_NOT_ACTIVE or INVALID_CREDENTIALS; SECOND_STEP_NEEDED if the
    login cannot be done by a password alone.
    """

    def __init__(self, reason: str) -> None:
        code = grpc.StatusCode.UNAUTHENTICATED
        super().__init__(f"The session has ended ({reason}). Log in again.", code=code, reason=reason)

    def again(self) -> "SessionEnded":
        """The same error, to be raised for another caller."""
        return SessionEnded(self.reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionEnded, (self.reason,)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A second step of a login, to be answered with AuthClient.answer. Good once, and until `expires_at` (Unix
    milliseconds, by the server's clock). `audiences` and `device_token` are what the login said."""

    challenge_token: str = field(repr=False)
    methods: tuple[str, ...]
    expires_at: int
    audiences: tuple[str, ...] = ()
    device_token: str = field(default="", repr=False)


class SecondStepNeeded(SignInFailed):
    """The password was right, and the user has a second factor: ask for a code and answer the `challenge`."""

    def __init__(self, challenge: Challenge) -> None:
        code, reason = grpc.StatusCode.FAILED_PRECONDITION, "SECOND_STEP_NEEDED"
        super().__init__("The login asks for a second step.", code=code, reason=reason)
        self.challenge = challenge

    def again(self) -> "SecondStepNeeded":
        """The same error, to be raised for another caller."""
        return SecondStepNeeded(self.challenge)

    def __reduce__(self) -> tuple[Any, ...]:
        return SecondStepNeeded, (self.challenge,)


class ReceivedTokenRejected(SignInFailed):
    """The server handed out an access token that does not pass verification here; `__cause__` says why.

    It was attached to nothing. `is_forged`: it was not signed by the issuer's keys, so that nothing else the same
    answer held is believed either; otherwise only its times or its audience are wrong.
    """

    def __init__(self, why: str, *, is_forged: bool) -> None:
        super().__init__(
            f"The access token received is not acceptable. {why}", code=grpc.StatusCode.UNAUTHENTICATED
        )
        self.why = why
        self.is_forged = is_forged

    def again(self) -> "ReceivedTokenRejected":
        """The same error, to be raised for another caller."""
        return ReceivedTokenRejected(self.why, is_forged=self.is_forged)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt_rejection, (self.why, self.is_forged)


def _rebuilt(kind: type[SignInFailed], details: str, code: grpc.StatusCode, reason: str) -> SignInFailed:
    return kind(details, code=code, reason=reason)


def _rebuilt_rejection(why: str, is_forged: bool) -> ReceivedTokenRejected:
    return ReceivedTokenRejected(why, is_forged=is_forged)
