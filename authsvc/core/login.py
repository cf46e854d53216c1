"""Owns logging in: first who somebody is, then a session.

Leaves the password to core.password_check, codes to core.one_time_codes, the session to core.new_sessions.

Where a second factor is in force, the right password gets a challenge, and the session begins with the right code.
Before the password is known to be right nobody looks whether there is one.
"""

from dataclasses import dataclass, field, replace

from authsvc.core.callers import ClientRegistry
from authsvc.core.clock import Clock
from authsvc.core.contracts import SessionStore, UserStore
from authsvc.core.errors import (
    CallerNotPermitted,
    ChallengeNotActive,
    InvalidCredentials,
    SecondFactorNotEnrolled,
)
from authsvc.core.ids import RandomBytes, new_id
from authsvc.core.known_devices import KnownDevices
from authsvc.core.login_challenge import LIFETIME, HalfDone, LoginChallenges, Wanted
from authsvc.core.model import (
    MULTIPLE_FACTORS,
    ONE_TIME_CODE,
    PASSWORD,
    Client,
    Device,
    User,
)
from authsvc.core.narrowing import narrowed
from authsvc.core.new_sessions import LoggedIn, NewSessions, creation
from authsvc.core.one_time_codes import OneTimeCodes
from authsvc.core.operation import Asked
from authsvc.core.password_check import PasswordAttempt, PasswordCheck
from authsvc.core.second_factor_contract import SecondFactorStore


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What the user typed and what the client wants for it."""

    typed: PasswordAttempt
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class SecondStep:
    """The challenge of the first step, and the code that the user gave to it."""

    challenge_token: str = field(repr=False)
    one_time_code: str = field(repr=False)
    device: Device
    device_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Challenged:
    """The password was right, and now a code is asked for."""

    challenge_token: str = field(repr=False)
    expires_at: int


class Login:
    """Checks who somebody is and starts a session."""

    def __init__(
        self,
        *,
        check: PasswordCheck,
        devices: KnownDevices,
        users: UserStore,
        factors: SecondFactorStore,
        codes: OneTimeCodes,
        challenges: LoginChallenges,
        sessions: SessionStore,
        new_sessions: NewSessions,
        clients: ClientRegistry,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._check = check
        self._devices = devices
        self._users = users
        self._factors = factors
        self._codes = codes
        self._challenges = challenges
        self._sessions = sessions
        self._new_sessions = new_sessions
        self._clients = clients
        self._clock = clock
        self._random_bytes = random_bytes

    async def login(self, attempt: LoginAttempt, asked: Asked) -> LoggedIn | Challenged:
        """Return a new session, or a challenge to answer before there is one. Raises InvalidCredentials,
        TooManyAttempts, Overloaded, InvalidRequest, StoreUnavailable."""
        client = self._client(asked)
        narrowed(client.audiences, attempt.wanted.audiences, "audiences")
        user = (await self._check.check(attempt.typed, asked)).user
        session_id = new_id(self._clock(), self._random_bytes)
        session = self._new_sessions.make(session_id, user, client, attempt.wanted, (PASSWORD,))
        factor = await self._factors.get(user.id)
        if factor is not None and factor.sealed_secret is not None:
            return self._challenge(session_id, user, attempt.wanted, client)
        logged_in = await self._new_sessions.begin(session, user.password_changed_at)
        if logged_in is None:
            raise InvalidCredentials  # Disabled, or the password changed, while it was being checked.
        device_token = self._devices.make(user, attempt.typed.device_token)
        return replace(logged_in, cookies=attempt.wanted.cookies, device_token=device_token)

    async def answer(self, step: SecondStep, asked: Asked) -> LoggedIn:
        """Return the session that the first step asked for, once.

        Raises ChallengeNotActive, InvalidOneTimeCode, TooManyAttempts, InvalidRequest, StoreUnavailable.
        """
        client = self._client(asked)
        half_done = self._challenges.open(step.challenge_token, client.id)
        user = await self._users.get(half_done.user_id)
        if user is None or await self._is_over(half_done, user):
            raise ChallengeNotActive
        amr = (PASSWORD, ONE_TIME_CODE, MULTIPLE_FACTORS)
        session = self._new_sessions.make(half_done.session_id, user, client, half_done.wanted, amr)
        about = replace(
            creation(session),
            actor=asked.caller.actor,
            session_id="",
            device=step.device,
            reason="login",
        )
        try:
            await self._codes.check(user.id, step.one_time_code, about)
        except SecondFactorNotEnrolled:
            raise ChallengeNotActive from None  # It was given up meanwhile.
        logged_in = await self._new_sessions.begin(session, half_done.password_changed_at)
        if logged_in is None:
            raise ChallengeNotActive
        device_token = self._devices.make(user, step.device_token)
        return replace(logged_in, cookies=half_done.wanted.cookies, device_token=device_token)

    def _client(self, asked: Asked) -> Client:
        client = self._clients.get(asked.caller.client_id)
        if client is None:
            raise CallerNotPermitted
        return client

    def _challenge(self, session_id: str, user: User, wanted: Wanted, client: Client) -> Challenged:
        expires_at = self._clock() + LIFETIME
        half_done = HalfDone(session_id, user.id, user.password_changed_at, expires_at, wanted)
        return Challenged(self._challenges.seal(half_done, client.id), expires_at)

    async def _is_over(self, half_done: HalfDone, user: User) -> bool:
        """Whether a challenge is of no use any more. `begin` judges the same again, when nothing can come between."""
        if user.disabled_at is not None or user.password_changed_at != half_done.password_changed_at:
            return True
        return await self._sessions.get(half_done.session_id) is not None
