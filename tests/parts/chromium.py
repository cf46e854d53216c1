"""The Chromium that this machine has, driven by Playwright. Without one its tests are skipped, and say so.

Registered in `tests/conftest.py`.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here (Debian: chromium)")
# In a container there is often no room for shared memory, and root runs no sandbox.
_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
# People's browsers keep pages in memory for the back button; Playwright turns that off.
_LEFT_OUT = ["--disable-back-forward-cache"]


@asynccontextmanager
async def chromium(*arguments: str) -> AsyncIterator[Browser]:
    """Run Chromium without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=PROGRAM, args=[*_ARGUMENTS, *arguments], ignore_default_args=_LEFT_OUT
        )
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with chromium() as running:
        yield running
