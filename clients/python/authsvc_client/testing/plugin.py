"""Owns the fixtures that pytest finds wherever authsvc is installed. Leaves what they give to the files beside it,
which are loaded when a fixture is asked for.

Override `authsvc_issuer` and `authsvc_audience` in a conftest.py to be what the tested service expects.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from authsvc_client.testing import FakeAuthService, MovableClock, TokenMinter
    from authsvc_client.verifying import Verifier


@pytest.fixture
def authsvc_issuer() -> str:
    """The issuer of every token in the test. Override it."""
    return "https://auth.test"


@pytest.fixture
def authsvc_audience() -> str:
    """The audience of every token in the test: the tested service. Override it."""
    return "orders"


@pytest.fixture
def authsvc_clock() -> "MovableClock":
    """The clock of minter, verifier and server: `move` it, or `stop` it."""
    from authsvc_client.testing import MovableClock

    return MovableClock()


@pytest.fixture
def authsvc_minter(
    authsvc_issuer: str, authsvc_audience: str, authsvc_clock: "MovableClock"
) -> "TokenMinter":
    """Mints and revokes access tokens, without a network."""
    from authsvc_client.testing import TokenMinter

    return TokenMinter(authsvc_issuer, authsvc_audience, clock=authsvc_clock)


@pytest.fixture
def authsvc_verifier(authsvc_minter: "TokenMinter") -> "Verifier":
    """Trusts what `authsvc_minter` mints: give it to the tested service."""
    return authsvc_minter.verifier()


@pytest.fixture
def authsvc_server(
    authsvc_issuer: str, authsvc_audience: str, authsvc_clock: "MovableClock"
) -> "Iterator[FakeAuthService]":
    """An authsvc on a free port: give the tested service its `address`, `issuer` and `client_key`."""
    from authsvc_client.testing import FakeAuthService

    with FakeAuthService(authsvc_issuer, (authsvc_audience,), clock=authsvc_clock) as running:
        yield running
