"""What pages work out by themselves, in real Chromium: codes, words, and what is in a token."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page

from authsvc.core.clock import HOUR
from authsvc.http.known import KEY_SET_PATH
from authsvc.http.page_files import ASSETS
from authsvc.stores.embedded import EmbeddedValkey
from tests.parts.chromium import needs_chromium
from tests.parts.listening import Listening, listen

pytestmark = needs_chromium

OTPAUTH = (
    "otpauth://totp/auth.example.com:alice%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    "&issuer=auth.example.com&algorithm=SHA1&digits=6&period=30"
)
# SHA-256 of the modules, row by row, as the Python package qrcode 8.2 makes them of the same bytes (level M, no quiet
# zone, the same mask). Lengths reach from version 1 to 12.
CODES = {
    "a": "2e7add7dfd3288d4ed23295399f43abf38be57f9a3df265ce870eb6fa468237e",
    OTPAUTH: "b6e9c2c01a372d214bb8c7d0f6ef27b99949b5fca67b0a54c03481977e1e14a8",
    "y" * 150: "445ec7f87477f78a57bac3e797ef3e0f12dec2580a444d8c309cfc4e8779fa85",
    "w" * 280: "cc98f09c5637324181d44d717537b915b6d4bbe971c6f4fd0c99cefb45b73e42",
}


async def opened(browser: Browser, listening: Listening, path: str) -> Page:
    """A page in a browser of its own."""
    context = await browser.new_context(base_url=str(listening.web.base_url))
    page = await context.new_page()
    await page.goto(path)
    return page


async def test_codes(browser: Browser, listening: Listening) -> None:
    """A QR code is, module by module, what another implementation makes of the same text."""
    page = await opened(browser, listening, "/inspector")

    made = await page.evaluate(
        "async ([from, texts]) => { const qr = await import(from); return texts.map((text) => qr.matrix(text)); }",
        [f"{ASSETS}/qr.js", list(CODES)],
    )

    flat = ["".join(str(module) for row in rows for module in row) for rows in made]
    assert [hashlib.sha256(text.encode()).hexdigest() for text in flat] == list(CODES.values())


async def test_words(browser: Browser, listening: Listening) -> None:
    """Times and devices are said as people say them."""
    page = await opened(browser, listening, "/inspector")

    said = await page.evaluate(
        """async (from) => {
            const { distance, length, device } = await import(from);
            const now = Date.now();
            return [
              ...[0, -65, 7200, -86400 * 3].map((s) => distance(now + 1000 * s, now)),
              ...[1, 90, 3600, 90061].map(length),
              device({ userAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/6" }).name,
              device({ userAgent: "Mozilla/5.0 (Windows NT 10.0) Chrome/156.0 Safari/537.36 Edg/156.0" }).name,
              device({ userAgent: "grpc-python/1.85.1 grpc-c/53" }).name,
              device({}).name,
              device({ label: "<b>Kitchen</b>" }).name,
            ];
        }""",
        f"{ASSETS}/words.js",
    )

    assert said == [
        "just now",
        "1 minute ago",
        "in 2 hours",
        "3 days ago",
        "1 second",
        "1 minute and 30 seconds",
        "1 hour",
        "1 day and 1 hour",
        "Safari on iPhone",
        "Edge on Windows",
        "grpc-python",
        "Unknown device",
        "<b>Kitchen</b>",
    ]


async def inspected(page: Page, token: str) -> str:
    """What the inspector says of a token."""
    await page.fill("#token", "")
    await page.fill("#token", token)
    await page.wait_for_selector("#found .notice")
    return await page.inner_text("#found .verdicts")


def encoded(members: dict[str, Any]) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_signature_is_checked(
    browser: Browser, sqlite_url: str, valkey: EmbeddedValkey, algorithm: str
) -> None:
    """The inspector knows a good signature of each kind, and one that is not."""
    async with listen(sqlite_url, valkey.url, signing_algorithm=algorithm) as listening:
        token = (await listening.service.login()).tokens.access_token
        page = await opened(browser, listening, "/inspector")
        head, body, sign = token.split(".")
        other = encoded({**json.loads(base64.urlsafe_b64decode(body + "==")), "sub": "somebody else"})

        good = await inspected(page, f"Bearer {token}\n")
        changed = await inspected(page, f"{head}.{other}.{sign}")

    assert "The signature is good" in good
    assert "It has not expired." in good
    assert "The signature is wrong" in changed


async def test_what_is_no_good(browser: Browser, listening: Listening) -> None:
    """Whatever a verifier would refuse, the inspector calls by its name."""
    token = (await listening.service.login()).tokens.access_token
    head, body, sign = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    page = await opened(browser, listening, "/inspector")
    old = encoded({"exp": 1_700_000_000, "iat": 1_699_999_700})
    hostile = "<img src=x onerror=alert(1)>"
    tried = {
        f"{encoded({**header, 'alg': 'none'})}.{body}.": "not signed at all",
        f"{encoded({**header, 'alg': 'HS256'})}.{body}.{sign}": 'none of the kind "HS256"',
        f"{encoded({**header, 'kid': hostile})}.{body}.{sign}": f'No key of this issuer has the id "{hostile}"',
        f"{encoded({**header, 'alg': 'RS256'})}.{body}.{sign}": "signs with ES256, and the token says RS256",
        f"{head}.{old}.{sign}": "It has expired",
        f"{head}.{encoded({})}.{sign}": "It has no expiry",
        f"{head}.{body}": "three parts with dots between them; this has 2",
        f"{head}.{body[:-3]}.{sign}": "has the token been cut short?",
        f"{head}.{encoded(['a'])}.{sign}": "not a JSON object",  # type: ignore[arg-type]
        "a.b.c.d.e": "encrypted",
        (await listening.service.login()).session_token: "a session token",
    }

    said = {text: await inspected(page, text) for text in tried}

    assert {text: expected in said[text] for text, expected in tried.items()} == dict.fromkeys(tried, True)
    assert await page.locator("#found img").count() == 0


async def test_nothing_is_sent(browser: Browser, listening: Listening) -> None:
    """A token that is pasted leaves the page in no request, and is gone from it when somebody leaves."""
    token = (await listening.service.login()).tokens.access_token
    page = await opened(browser, listening, "/login")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url} {request.post_data}"))

    await page.goto("/inspector")
    await inspected(page, token)
    await page.goto("/login")
    await page.go_back(wait_until="commit")
    left = await page.input_value("#token")

    paths = {urlsplit(each.split(" ")[1]).path for each in asked}
    assert {each.split(" ")[0] for each in asked} == {"GET"}
    assert {path for path in paths if not path.startswith(ASSETS)} == {"/inspector", "/login", KEY_SET_PATH}
    assert not any(part in each for each in asked for part in token.split("."))
    assert left == ""


async def test_policy_holds(browser: Browser, listening: Listening) -> None:
    """What the policy forbids does not happen: a script put into a page does not run, nor does text become markup."""
    page = await opened(browser, listening, "/inspector")

    ran = await page.evaluate(
        """() => {
            const script = document.createElement("script");
            let markup = true;
            try { script.text = "window.ran = true"; document.body.append(script); } catch {}
            try { document.body.innerHTML = "<p>"; } catch { markup = false; }
            return [Boolean(window.ran), markup];
        }"""
    )

    assert ran == [False, False]


async def test_old_tokens_in_words(browser: Browser, listening: Listening) -> None:
    """Times of a token are said in words, with the number that is in it."""
    page = await opened(browser, listening, "/inspector")
    at = listening.service.clock() // 1000 - 3 * HOUR // 1000

    await inspected(page, f"{encoded({'alg': 'ES256'})}.{encoded({'exp': at, 'iat': at - 300})}.AA")
    claims = await page.inner_text("#found .part.body")

    assert "3 hours ago" in claims
    assert str(at) in claims
