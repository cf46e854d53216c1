"""Owns reading a key set from an HTTPS URL or a file. Leaves when to read to `key_refresh`, what is sound to `strict`.

A source blocks, so it is only ever called on a background thread.
"""

import ssl
from collections.abc import Callable
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from authsvc_client.clock import monotonic_clock
from authsvc_client.strict import KeySet
from authsvc_client.strict.keys import MAX_KEY_SET_BYTES

_CHUNK: Final = 16 * 1024


class KeySourceFailed(Exception):
    """The key set could not be read. The text says why, and holds nothing that was read."""


class KeySource(Protocol):
    """Where key sets come from. `every_ms` is how often to look."""

    every_ms: int

    def read(self) -> KeySet | None:
        """The key set, or None if nothing changed since the last read. Blocks. Raises KeySourceFailed; KeySetRefused
        for one that must not be used."""


class JwksUrl:
    """A JWK Set document at an HTTPS URL (RFC 7517 §5). Certificates are verified, redirects are not followed."""

    def __init__(
        self,
        url: str,
        *,
        every_ms: int = 300_000,
        timeout_ms: int = 5_000,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` replaces the system's trusted certificates. Raises ValueError for plain HTTP to another host."""
        _check_url(url)
        self.every_ms = every_ms
        self._url = url
        self._timeout_ms = timeout_ms
        handler = HTTPSHandler(context=tls or ssl.create_default_context())
        self._opener = build_opener(_NoRedirects, handler)

    def read(self) -> KeySet:
        """The key set; at most 64 KiB within the timeout. Raises KeySourceFailed, KeySetRefused."""
        deadline = monotonic_clock() + self._timeout_ms
        request = Request(self._url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout_ms / 1000) as response:
                return KeySet.from_jwks(_read_all(response.read1, deadline))
        except HTTPError as error:  # holds the open connection
            error.close()
            raise KeySourceFailed(f"status {error.code}") from None
        except (HTTPException, OSError) as error:  # URLError is an OSError
            raise KeySourceFailed(_reason(error)) from None


class JwksFile:
    """A JWK Set document in a file, read again whenever the file changes."""

    def __init__(self, path: str | Path, *, every_ms: int = 2_000) -> None:
        self.every_ms = every_ms
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> KeySet | None:
        """The key set; None while the file is the one last read. Raises KeySourceFailed, KeySetRefused."""
        try:
            found = self._path.stat()
            now = (found.st_ino, found.st_size, found.st_mtime_ns)
            if now == self._seen:
                return None
            with self._path.open("rb") as file:
                document = file.read(MAX_KEY_SET_BYTES + 1)
        except OSError as error:
            raise KeySourceFailed(f"the file could not be read: {error.strerror}") from None
        self._seen = now
        return KeySet.from_jwks(document)


class _NoRedirects(HTTPRedirectHandler):
    """A key set is where it is said to be: a redirect is refused like any other answer that is not 200."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not _is_loopback(parts.hostname or ""):
        raise ValueError("a key set comes over HTTPS, or over HTTP from this host")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read_all(read: Callable[[int], bytes], deadline: int) -> bytes:
    """The whole body, or as much as is too much."""
    body = b""
    while len(body) <= MAX_KEY_SET_BYTES:
        if monotonic_clock() > deadline:
            raise KeySourceFailed("it took too long")
        chunk = read(_CHUNK)
        if not chunk:
            break
        body += chunk
    return body


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return f"no answer to use: {type(cause).__name__ if isinstance(cause, Exception) else cause}"
