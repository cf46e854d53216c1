"""Owns the deployment that the tests of a module share: two instances, whole again before each test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.faults.asking import Asking
from tests.faults.deployment import Deployment, deployment

BOUND_MS = 2_500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_deployment() -> AsyncIterator[Deployment]:
    """Two instances as processes of their own. Use `asking`."""
    async with deployment(2, bound_ms=BOUND_MS, users=["alice", "bob", "carol"]) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def asking(shared_deployment: Deployment) -> Asking:
    """Two instances, whole, and what to ask them."""
    await shared_deployment.mend()
    return Asking(shared_deployment)
