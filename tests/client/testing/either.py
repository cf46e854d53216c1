"""One face for the real service and the one for tests, so that the same tests hold both to the same promises."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio

from authsvc_client.testing import FakeAuthService
from tests.parts.service import AUDIENCES, CLIENTS, ISSUER, PASSWORD, SCOPES, MovableClock, Service


class Faked(Service):
    """A Service whose instance is a FakeAuthService, with the same clients and the same user."""

    def __init__(self, fake: FakeAuthService, channel: grpc.aio.Channel, keys: dict[str, str]) -> None:
        super().__init__(cast("Any", None), cast("MovableClock", fake.clock), channel, keys)
        self.fake = fake

    @property
    def address(self) -> str:
        return self.fake.address

    async def add_user(self, username: str = "alice", scopes: Any = SCOPES) -> str:
        self.user_ids[username] = self.fake.add_user(username, password=PASSWORD, scopes=scopes)
        return self.user_ids[username]


@asynccontextmanager
async def run_fake() -> AsyncIterator[Service]:
    """Run the fake as `run_service` runs the real one."""
    with FakeAuthService(ISSUER, AUDIENCES) as fake:
        keys = {
            client_id: fake.add_client(client_id, {permission.value for permission in permissions})
            for client_id, permissions in CLIENTS.items()
        }
        async with grpc.aio.insecure_channel(fake.address) as channel:
            yield Faked(fake, channel, keys)
