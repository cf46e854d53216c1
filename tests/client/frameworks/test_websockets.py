"""Websockets are judged when they open, and end when what opened them does."""

import asyncio
import json
from typing import Any

from authsvc_client import Verifier, current_principal
from authsvc_client.frameworks.asgi import PRINCIPAL, AuthMiddleware
from authsvc_client.testing import MovableClock, TokenMinter


class Socket:
    """The server's side of one websocket: what the client sent, and what was sent to it."""

    def __init__(self, headers: list[tuple[bytes, bytes]], extensions: dict[str, Any] | None = None) -> None:
        self.scope = {
            "type": "websocket",
            "path": "/feed",
            "headers": headers,
            "extensions": extensions or {},
        }
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._received.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> Any:
        return await self._received.get()

    async def send(self, message: Any) -> None:
        self.sent.put_nowait(message)

    async def heard(self) -> Any:
        """What the client hears next."""
        async with asyncio.timeout(10):
            return await self.sent.get()


def bearing(token: str) -> list[tuple[bytes, bytes]]:
    """Headers of a handshake."""
    return [(b"host", b"shop.example"), (b"authorization", f"Bearer {token}".encode())]


async def feed(scope: Any, receive: Any, send: Any) -> None:
    """An application that accepts and then waits for what never comes."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": scope[PRINCIPAL].user_id + current_principal().user_id})
    await receive()


async def test_a_websocket_without_a_token_is_closed(authsvc_verifier: Verifier) -> None:
    """A websocket is refused before it is accepted: servers turn that into HTTP 403."""
    socket = Socket([])

    await AuthMiddleware(feed, authsvc_verifier)(socket.scope, socket.receive, socket.send)

    assert await socket.heard() == {"type": "websocket.close", "code": 1008, "reason": "CREDENTIALS_MISSING"}
    assert socket.sent.empty()


async def test_a_websocket_is_refused_in_full_where_that_is_possible(authsvc_verifier: Verifier) -> None:
    """A server that can send an HTTP response instead of a handshake sends the 401 that a request would get."""
    socket = Socket(bearing("nonsense"), {"websocket.http.response": {}})

    await AuthMiddleware(feed, authsvc_verifier)(socket.scope, socket.receive, socket.send)

    start, body = await socket.heard(), await socket.heard()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert dict(start["headers"])[b"www-authenticate"].startswith(b'Bearer realm="auth.test", error=')
    assert json.loads(body["body"])["reason"] == "ACCESS_TOKEN_INVALID"


async def test_a_cookie_of_another_site_opens_no_websocket(authsvc_verifier: Verifier) -> None:
    """Browsers let any site open a websocket with this site's cookie; it is refused."""
    headers = [(b"cookie", b"__Host-authsvc_session=ats_x"), (b"origin", b"https://evil.example")]
    socket = Socket([(b"host", b"shop.example"), *headers])

    await AuthMiddleware(feed, authsvc_verifier)(socket.scope, socket.receive, socket.send)

    assert (await socket.heard())["reason"] == "CALLER_NOT_PERMITTED"


async def test_a_trusted_origin_may_bring_the_cookie(authsvc_verifier: Verifier) -> None:
    """A site that is named as trusted gets as far as having its cookie's session judged."""
    headers = [(b"cookie", b"__Host-authsvc_session=ats_x"), (b"origin", b"https://app.example")]
    socket = Socket([(b"host", b"shop.example"), (b"sec-fetch-site", b"cross-site"), *headers])
    guard = AuthMiddleware(feed, authsvc_verifier, trusted_origins=["https://app.example"])

    await guard(socket.scope, socket.receive, socket.send)

    assert (await socket.heard())[
        "reason"
    ] == "CALLER_UNAUTHENTICATED"  # a session, and nobody to ask about it


async def test_an_open_websocket_ends_with_its_session(
    authsvc_verifier: Verifier, authsvc_minter: TokenMinter
) -> None:
    """When the session is revoked, its open websocket is closed at once, and the application with it."""
    token = authsvc_minter.mint("user-1")
    socket, guard = Socket(bearing(token)), AuthMiddleware(feed, authsvc_verifier)
    running = asyncio.create_task(guard(socket.scope, socket.receive, socket.send))
    heard = [await socket.heard(), await socket.heard()]

    authsvc_minter.revoke(token)

    assert await socket.heard() == {"type": "websocket.close", "code": 1008, "reason": "ACCESS_TOKEN_REVOKED"}
    await asyncio.wait_for(running, 10)
    assert heard[1]["text"] == "user-1user-1"


async def test_an_open_websocket_ends_with_its_token(authsvc_minter: TokenMinter) -> None:
    """When the access token expires, its open websocket is closed."""
    clock = MovableClock()
    minter = TokenMinter(clock=clock)
    socket = Socket(bearing(minter.mint()))
    guard = AuthMiddleware(feed, minter.verifier(), clock=clock)
    running = asyncio.create_task(guard(socket.scope, socket.receive, socket.send))
    await socket.heard()
    await socket.heard()

    clock.move(300_000)

    assert (await socket.heard())["reason"] == "ACCESS_TOKEN_EXPIRED"
    await asyncio.wait_for(running, 10)


async def test_a_cancelled_websocket_is_cancelled(
    authsvc_verifier: Verifier, authsvc_minter: TokenMinter
) -> None:
    """Cancelling that does not come from the guard goes on to whoever runs the application."""
    socket, guard = Socket(bearing(authsvc_minter.mint())), AuthMiddleware(feed, authsvc_verifier)
    running = asyncio.create_task(guard(socket.scope, socket.receive, socket.send))
    await socket.heard()

    running.cancel()

    await asyncio.wait([running], timeout=10)
    assert running.cancelled()


async def test_what_is_neither_is_passed_on(authsvc_verifier: Verifier) -> None:
    """Lifespan events reach the application untouched."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    await AuthMiddleware(app, authsvc_verifier)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    assert seen == ["lifespan"]


async def test_two_authorization_headers_are_none(
    authsvc_verifier: Verifier, authsvc_minter: TokenMinter
) -> None:
    """Two `authorization` headers are refused, good as each may be."""
    header = bearing(authsvc_minter.mint())
    socket = Socket([*header, *header])

    await AuthMiddleware(feed, authsvc_verifier)(socket.scope, socket.receive, socket.send)

    assert (await socket.heard())["reason"] == "CALLER_UNAUTHENTICATED"
