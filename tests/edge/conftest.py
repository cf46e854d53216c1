"""The site of the browser tests, with the people in it gone after each, and the edge alone: one for each file."""

from collections.abc import AsyncIterator

import pytest_asyncio

from authsvc.edge.asked import Endpoint, ServiceRoute
from tests.edge.browsing import Site, run_site
from tests.edge.proxies import Orders, run_orders
from tests.edge.standing import StandingEdge, standing_edge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orders() -> AsyncIterator[Orders]:
    """A service behind the edge, at `/orders/`, that people visit."""
    async with run_orders() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_site(orders: Orders) -> AsyncIterator[Site]:
    """An instance, Envoy and Chromium, and the service behind."""
    route = ServiceRoute(
        "/orders/", Endpoint("127.0.0.1", orders.port), {"audience": "orders", "mode": "page"}
    )
    async with run_site([route]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site(whole_site: Site) -> AsyncIterator[Site]:
    """The site, with nobody there."""
    yield whole_site
    await whole_site.go_home()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[StandingEdge]:
    """An instance, Envoy, and services behind."""
    async with standing_edge() as standing:
        yield standing
