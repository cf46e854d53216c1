"""Owns the certificates that the ports show and believe, and that new ones are taken up without a restart.

The files are looked at each second. gRPC asks on a thread of its own, for each new connection, whether there is
anything newer than it has: it is given what was read last. Files that cannot be used (half written, a key that is
another's, expired) change nothing: what was good stays, a metric says that something is wrong, and so does the log if
it still is at the second look, since a certificate and its key are seldom replaced in one moment.

Leaves what the files must hold to `authsvc.settings.certificate_files`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import structlog
from prometheus_client import CollectorRegistry, Gauge

from authsvc.core.clock import SECOND, Clock
from authsvc.settings.certificate_files import CertificatesUnusable, Pair, read_authorities, read_pair

LOOK_EVERY_S = 1.0
_SAY_AT_LOOK = 2
_log = structlog.get_logger("authsvc")


@dataclass(frozen=True, slots=True)
class Held:
    """What is shown, and whom clients' certificates must come from (None: they are not asked for)."""

    pair: Pair
    authorities: bytes | None


class Certificates:
    """The certificates in force."""

    def __init__(
        self, pair: tuple[Path, Path], authorities: Path | None, clock: Clock, metrics: CollectorRegistry
    ) -> None:
        """Read them. Raises CertificatesUnusable."""
        self._pair = pair
        self._authorities = authorities
        self._clock = clock
        self._bad_looks = 0
        self._said = ""
        self._problem = Gauge(
            "authsvc_tls_certificate_problem",
            "1 while the certificate files cannot be used, or the certificate in force has expired.",
            registry=metrics,
        )
        self._expires = Gauge(
            "authsvc_tls_certificate_expire_time_seconds",
            "When the certificate in force expires, in seconds since 1970.",
            registry=metrics,
        )
        self._held = self._read()
        self._expires.set(self._held.pair.expires_at / SECOND)

    def credentials(self, *, ask_clients: bool) -> grpc.ServerCredentials:
        """Return credentials for a port, which follow the files. `ask_clients`: whoever connects must prove to hold a
        certificate of the authorities."""
        given = self._held

        def newer() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            if self._held is given:
                return None
            given = self._held
            return _configuration(given, ask_clients)

        # None is how to say that there is nothing newer; its type does not know.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", newer)
        return grpc.dynamic_ssl_server_credentials(_configuration(given, ask_clients), fetch, ask_clients)

    async def run(self, changed: Callable[[], None] = lambda: None) -> None:
        """Follow the files for ever; `changed` is called when there is something new."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await self.look():
                changed()

    async def look(self) -> bool:
        """Look at the files now; whether there is something new in them that can be used."""
        try:
            found = await asyncio.to_thread(self._read)
        except CertificatesUnusable as error:
            self._complain(str(error))
            return False
        self._bad_looks, self._said = 0, ""
        self._problem.set(0)
        if found == self._held:
            return False
        self._held = found
        self._expires.set(found.pair.expires_at / SECOND)
        _log.info("new TLS certificate in force", expires_at=found.pair.expires_at)
        return True

    def _read(self) -> Held:
        authorities = read_authorities(self._authorities) if self._authorities else None
        return Held(read_good(self._pair, self._clock), authorities)

    def _complain(self, sentence: str) -> None:
        self._bad_looks += 1
        self._problem.set(1)
        if self._bad_looks >= _SAY_AT_LOOK and sentence != self._said:
            self._said = sentence
            _log.error(
                "the TLS files cannot be used; the certificate of before stays in force", cause=sentence
            )


def read_good(files: tuple[Path, Path], clock: Clock) -> Pair:
    """Return the certificate and the key in these files, which are good now. Raises CertificatesUnusable."""
    pair = read_pair(*files)
    if not pair.begins_at <= clock() < pair.expires_at:
        raise CertificatesUnusable(f"the certificate in {files[0]} has expired, or is not good yet")
    return pair


def _configuration(held: Held, ask_clients: bool) -> grpc.ServerCertificateConfiguration:
    pairs = [(held.pair.key, held.pair.chain)]
    return grpc.ssl_server_certificate_configuration(pairs, held.authorities if ask_clients else None)
