"""Makes the pictures of the documentation, of the real pages: `python -m tests.edge.screenshots`.

Writes docs/images/*.png. What changes from run to run (ports, ids, times of day) is all that may differ.
"""

import asyncio
import io
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.async_api import Page

from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import Device
from tests.edge.browsing import READY, Site, log_in, run_site
from tests.parts.service import PASSWORD, outcome

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_AGENTS = {
    "laptop": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
    "office": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "phone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile/1 Safari/604",
}
# Addresses for documentation (RFC 5737, RFC 3849).
_PLACES = {"office": "198.51.100.7", "phone": "2001:db8::17", "elsewhere": "203.0.113.99"}
_WIDE = {"width": 960, "height": 640}
_PHONE = {"width": 390, "height": 720}
Scheme = Literal["light", "dark"]


async def main() -> None:
    """Make them all."""
    IMAGES.mkdir(exist_ok=True)
    async with run_site() as site:
        await _live_a_while(site)
        await _picture_login(site)
        await _picture_account(site)
        await _picture_phone(site)
        await _picture_inspector(site)


async def _live_a_while(site: Site) -> None:
    """Some days in the life of an account."""
    service = site.service
    await service.add_user("alice")
    await _log_in_from(site, "phone", 3 * DAY)
    await _log_in_from(site, "office", 5 * HOUR)
    wrong = pb.LoginRequest(username="alice", password="?", device=_device("office", "elsewhere"))
    await outcome(service.auth.Login(wrong, metadata=service.by("web")))


async def _log_in_from(site: Site, device: str, then_ms: int) -> None:
    await site.service.login("alice", device=_device(device, device), remember=True)
    site.service.clock.move(then_ms)


def _device(agent: str, place: str) -> Device:
    return Device(ip_address=_PLACES[place], user_agent=_AGENTS[agent])


async def _browser(site: Site, scheme: Scheme, viewport: Any) -> Page:
    # The clock of the service has moved on; that of the browser goes with it.
    page = await site.person(color_scheme=scheme, viewport=viewport, user_agent=_AGENTS["laptop"])
    await page.clock.install(time=(site.service.clock() + MINUTE // 2) / 1000)
    return page


async def _picture_login(site: Site) -> None:
    page = await _browser(site, "light", _WIDE)
    await page.goto("/login")
    await page.fill("#username", "alice")
    await _save(page, "login")


async def _picture_account(site: Site) -> None:
    page = await _enter(site, "light", _WIDE)
    await _save(page, "sessions")
    await _open(page, "/account/events")
    await _save(page, "events")
    await _open(page, "/account/second-factor")
    await page.fill("#password", PASSWORD)
    await page.click("#begin button:not([type=button])")
    await page.wait_for_selector("#picture svg")
    await _save(page, "second-factor")
    await page.click("#logout")
    await page.wait_for_selector("#username")


async def _picture_phone(site: Site) -> None:
    page = await _enter(site, "dark", _PHONE)
    await _save(page, "sessions-phone")


async def _enter(site: Site, scheme: Scheme, viewport: Any) -> Page:
    page = await _browser(site, scheme, viewport)
    await page.goto("/login")
    await log_in(page, "alice")
    await page.wait_for_url("**/account")
    await page.wait_for_selector(READY)
    return page


async def _open(page: Page, path: str) -> None:
    await page.goto(path)
    await page.wait_for_selector(READY)


async def _picture_inspector(site: Site) -> None:
    token = (await site.service.login("alice")).tokens.access_token
    page = await _browser(site, "dark", {"width": 960, "height": 820})
    await page.goto("/inspector")
    await page.fill("#token", token)
    await page.wait_for_selector("#found .members")
    await page.locator("#token").evaluate("area => { area.blur(); area.scrollTop = 0; }")
    await _save(page, "inspector")


async def _save(page: Page, name: str) -> None:
    await page.mouse.move(0, 0)
    taken = Image.open(io.BytesIO(await page.screenshot(animations="disabled"))).convert("RGB")
    # Flat colours: a palette makes the file a third as large, and nobody sees it.
    taken.quantize(128, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    asyncio.run(main())
