"""The site of the browser tests: one for each file of them, with the people in it gone after each test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.browsing import Site, run_site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_site() -> AsyncIterator[Site]:
    """An instance, Envoy and Chromium."""
    async with run_site() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site(whole_site: Site) -> AsyncIterator[Site]:
    """The site, with nobody there."""
    yield whole_site
    await whole_site.go_home()
