"""What a user with a second factor has: an authenticator app, and recovery codes on paper."""

from dataclasses import dataclass, field
from typing import Any

import pyotp

from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import PASSWORD, Service, bearer

STEP_MS = 30_000


@dataclass
class Authenticator:
    """An app that shows codes by the service's clock, and the recovery codes that came with it."""

    service: Service
    secret: str
    username: str = "alice"
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many steps later."""
        return pyotp.TOTP(self.secret).at((self.service.clock() + steps * STEP_MS) // 1000)

    def next_code(self) -> str:
        """A code that was not used before: time passes for it."""
        self.service.clock.move(STEP_MS)
        return self.code()

    def wrong_code(self) -> str:
        """A code that is wrong now, and for a while."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(f"{code:06}" for code in range(10) if f"{code:06}" not in near)

    async def challenge(self, **wanted: Any) -> pb.Challenge:
        """The first step of a login."""
        response = await self.service.login(self.username, **wanted)
        assert not response.HasField("session")
        challenge: pb.Challenge = response.challenge
        return challenge

    async def login(self, **wanted: Any) -> Any:
        """Both steps of a login, with a fresh code; return the LoginResponse."""
        challenge = await self.challenge(**wanted)
        return await self.answer(challenge, self.next_code())

    async def answer(self, challenge: pb.Challenge, code: str, client_id: str = "web") -> Any:
        """The second step of a login."""
        request = pb.LoginRequest(challenge_token=challenge.challenge_token, one_time_code=code)
        return await self.service.auth.Login(request, metadata=self.service.by(client_id))


async def enrol(service: Service, username: str = "alice") -> Authenticator:
    """Give a user a second factor, adding the user first if need be. The user's code of now is used up by it."""
    login = await service.login(username)
    own = bearer(login.session_token)
    enrolled = await service.auth.EnrollTotp(pb.EnrollTotpRequest(password=PASSWORD), metadata=own)
    app = Authenticator(service, enrolled.secret, username)
    confirmed = await service.auth.ConfirmTotp(pb.ConfirmTotpRequest(one_time_code=app.code()), metadata=own)
    app.recovery_codes = list(confirmed.recovery_codes)
    return app
