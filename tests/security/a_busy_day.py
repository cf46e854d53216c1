"""Everything that the service does, well and badly, with canaries wherever a secret goes in; what came out is kept.

Secrets must be found nowhere; what is private, in no log, metric, trace or error. Leaves searching to the tests.
"""

import base64
import os
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import PERMISSION_INTROSPECT, Device
from tests.parts.authenticator import enrol
from tests.parts.service import PASSWORD, Service, bearer
from tests.security.token_places import PLACES, present

CANARY = "kanarie7b2f90d4"
NEW_PASSWORD = f"a new {CANARY} pass phrase"
WRONG_PASSWORD = f"a wrong {CANARY} pass phrase"
PRIVATE = f"privat{CANARY}"
DEVICE = Device(ip_address="192.0.2.77", user_agent=f"{PRIVATE} browser", label=f"{PRIVATE} phone")


def signing_key() -> bytes:
    """A fresh key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class Day:
    """What was secret, by name, and what callers were told."""

    secrets: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def keep(self, **secrets: str) -> None:
        """Remember secrets that came out of a call; one name may come many times."""
        for name, text in secrets.items():
            if text:
                self.secrets[f"{name} {len(self.secrets)}"] = text

    def keep_login(self, login: Any) -> None:
        """Remember the tokens of a login or a refresh."""
        self.keep(session_token=getattr(login, "session_token", ""))
        self.keep(device_token=getattr(login, "device_token", ""))
        self.keep(access_token=login.tokens.access_token, refresh_token=login.tokens.refresh_token)

    async def fail(self, call: Awaitable[Any]) -> None:
        """Keep all that the caller gets to see of a call that may fail."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.told.append(f"{error.details()} {error.initial_metadata()} {error.trailing_metadata()}")


async def spend(service: Service) -> Day:
    """Spend it."""
    day = Day()
    day.keep(password=PASSWORD, new_password=NEW_PASSWORD, wrong_password=WRONG_PASSWORD, **service.keys)
    await _use(service, day)
    await _use_second_factor(service, day)
    await _administer(service, day)
    await _fail(service, day)
    return day


async def _use(service: Service, day: Day) -> None:
    login = await service.login(device=DEVICE)
    day.keep_login(login)
    await service.validate(login.session_token)
    for _ in range(2):
        day.keep_login(await service.refresh(login.tokens.refresh_token))
    exchange = pb.ExchangeSessionRequest(session_token=login.session_token)
    exchanged = await service.auth.ExchangeSession(exchange, metadata=service.by("gateway"))
    day.keep(access_token=exchanged.access_token)
    for text in list(day.secrets.values()):
        await day.fail(service.introspect(text))
    own = bearer(login.session_token)
    await service.auth.ListSessions(pb.ListSessionsRequest(), metadata=own)
    changed = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW_PASSWORD)
    await day.fail(service.auth.ChangePassword(changed, metadata=own))
    stolen = await service.login("bob", device=DEVICE)
    newer = await service.refresh(stolen.tokens.refresh_token)
    day.keep_login(stolen)
    day.keep_login(newer)
    day.keep_login(await service.refresh(newer.tokens.refresh_token))
    await day.fail(service.refresh(stolen.tokens.refresh_token))


async def _use_second_factor(service: Service, day: Day) -> None:
    app = await enrol(service, "carol")
    day.keep(secret=app.secret)
    for code in app.recovery_codes:
        day.keep(recovery_code=code)
    challenge = await app.challenge(device=DEVICE)
    day.keep(challenge=challenge.challenge_token)
    await day.fail(app.answer(challenge, app.wrong_code()))
    day.keep_login(await app.answer(challenge, app.next_code()))
    again = await app.challenge()
    day.keep(challenge=again.challenge_token)
    day.keep_login(await app.answer(again, app.recovery_codes[0]))


async def _administer(service: Service, day: Day) -> None:
    root = service.by("root")
    created = admin.CreateClientRequest(client_id="shop", permissions=[PERMISSION_INTROSPECT])
    day.keep(client_key=(await service.admin.CreateClient(created, metadata=root)).client_key)
    rotated = admin.RotateClientKeyRequest(client_id="shop", overlap_seconds=60)
    day.keep(client_key=(await service.admin.RotateClientKey(rotated, metadata=root)).client_key)
    set_password = admin.SetPasswordRequest(user_id=service.user_ids["bob"], password=NEW_PASSWORD)
    await service.admin.SetPassword(set_password, metadata=root)
    for text in list(day.secrets.values()):
        await service.admin.ExplainToken(admin.ExplainTokenRequest(token=text), metadata=root)
    await service.admin.ListAuditEvents(admin.ListAuditEventsRequest(), metadata=root)


async def _fail(service: Service, day: Day) -> None:
    web = service.by("web")
    planted = (("cookie", f"sid={CANARY}"), ("x-api-key", CANARY), ("x-bytes-bin", CANARY.encode()))
    requests = [
        pb.LoginRequest(username="alice", password=WRONG_PASSWORD, device=DEVICE),
        pb.LoginRequest(username=WRONG_PASSWORD, password="x"),
        pb.LoginRequest(username="alice", password=CANARY * 100),
        pb.LoginRequest(
            username=f"{PRIVATE}\0", password=WRONG_PASSWORD, scopes=[PRIVATE], audiences=[PRIVATE]
        ),
        pb.LoginRequest(challenge_token=f"ath_{CANARY}", one_time_code=CANARY),
    ]
    for request in requests:
        await day.fail(service.auth.Login(request, metadata=web + planted))
    for token in (
        f"ats_{CANARY}",
        f"atr_{CANARY}{'A' * 69}",
        f"eyJhbGciOiJub25lIn0.{CANARY}.{CANARY}",
        CANARY,
    ):
        for place in PLACES:
            day.told.append(await present(service, place, token))
    await day.fail(
        service.auth.ListSessions(pb.ListSessionsRequest(page_token=CANARY), metadata=service.by("root"))
    )
    weak = admin.CreateUserRequest(username=PRIVATE, password=CANARY[:10])
    await day.fail(service.admin.CreateUser(weak, metadata=service.by("root")))


def needles(secret: str) -> Iterator[str]:
    """A secret as it may show: itself, the part that is secret, and that in other spellings."""
    yield secret
    if secret[:3] in ("ats", "atc", "atr") and secret[3] == "_":
        body = base64.urlsafe_b64decode(secret[4:] + "=" * (-len(secret[4:]) % 4))
        hidden = body[22:54] if secret[2] == "r" else body[1:33]
        yield from (secret[4:], hidden.hex(), base64.b64encode(hidden).decode().rstrip("="))
    elif secret.startswith("eyJ"):
        yield from secret.split(".")[1:]
    else:
        yield from (secret.encode().hex(), base64.b64encode(secret.encode()).decode().rstrip("="))


def found(day: Day, text: str) -> list[str]:
    """The names of the secrets that a text holds; `the canary` for what was planted."""
    names = [
        name for name, secret in day.secrets.items() if any(needle in text for needle in needles(secret))
    ]
    return names + (["the canary"] if CANARY in text or CANARY.encode().hex() in text else [])


def fresh_secret() -> bytes:
    """A deployment secret that is nowhere else."""
    return base64.b64encode(os.urandom(36))
