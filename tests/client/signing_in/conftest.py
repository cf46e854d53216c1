"""What the tests of signing in share: a service that is called, and a go-between that can be told to misbehave."""

from collections.abc import AsyncIterator

import pytest

from tests.client.signing_in.between import Between
from tests.client.signing_in.called import Called
from tests.parts.service import Service


@pytest.fixture
async def called() -> AsyncIterator[Called]:
    """A service that notes who calls."""
    async with Called() as running:
        yield running


@pytest.fixture
async def between(service: Service) -> AsyncIterator[Between]:
    """A way to the service that counts calls and can be cut."""
    async with Between(service.address) as running:
        yield running
