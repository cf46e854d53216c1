"""Key sets from a file, a URL and a refreshing thread."""

import datetime
import http.server
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from authsvc_client.strict import Key, KeySet, KeySetRefused, UnknownKey
from authsvc_client.verifying import JwksFile, JwksUrl, KeyRefresh, KeySourceFailed, Verifier
from tests.client.strict_minting import ISSUER, JWK, NOW, OTHER_JWK, OTHER_KEY, header, mint

JWKS = json.dumps({"keys": [JWK]})
BOTH = json.dumps({"keys": [JWK, OTHER_JWK]})
UNKNOWN = mint(head=header(kid=OTHER_JWK["kid"], alg="EdDSA"), key=OTHER_KEY)


class Site:
    """What a web server answers, and how often it was asked."""

    def __init__(self) -> None:
        self.body: Iterable[bytes] = [JWKS.encode()]
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.url = ""


@contextmanager
def serving(site: Site, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve `site` for as long as the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked += 1
            self.send_response(site.status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for chunk in site.body:
                    self.wfile.write(chunk)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        site.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}/jwks"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on this host that answers with a key set."""
    with serving(Site()) as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    """Wait until another thread makes it true."""
    woken = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        woken.wait(0.005)
    raise AssertionError("it did not happen in 10 s")


def test_url(site: Site) -> None:
    """A key set is read from a URL."""
    keys = JwksUrl(site.url).read()

    assert [key.key_id for key in keys] == [JWK["kid"]]


@pytest.mark.parametrize(
    "url",
    ["http://auth.example/jwks", "file:///etc/jwks", "ftp://localhost/jwks", "auth.example", "https:///x"],
)
def test_url_is_safe(url: str) -> None:
    """Keys that anybody on the way could replace are never read."""
    with pytest.raises(ValueError, match="HTTPS"):
        JwksUrl(url)


def test_redirect_is_not_followed(site: Site) -> None:
    """An answer that sends elsewhere is no answer."""
    site.status, site.headers = 302, {"Location": site.url}

    with pytest.raises(KeySourceFailed):
        JwksUrl(site.url).read()

    assert site.asked == 1


def test_large_document_is_refused(site: Site) -> None:
    """No more than 64 KiB are taken in, however much is sent, even without end."""
    site.body = itertools.repeat(b" " * 65_536)

    with pytest.raises(KeySetRefused):
        JwksUrl(site.url).read()


def test_unknown_certificate_is_refused(tmp_path: Path) -> None:
    """TLS is verified: a certificate that nobody vouches for is no answer; one that is trusted is."""
    certificate, context = own_certificate(tmp_path)
    with serving(Site(), context) as site:
        with pytest.raises(KeySourceFailed):
            JwksUrl(site.url).read()

        keys = JwksUrl(site.url, tls=ssl.create_default_context(cafile=str(certificate))).read()

    assert len(keys) == 1


def test_failure_says_nothing_that_was_read(site: Site) -> None:
    """An error's text holds no bytes from outside."""
    site.status, site.body = 500, [b"secret words"]

    with pytest.raises(KeySourceFailed) as failed:
        JwksUrl(site.url).read()

    assert "secret" not in str(failed.value)


def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A file is read once, and again only after it changed, by being replaced too."""
    path = tmp_path / "jwks.json"
    path.write_text(JWKS)
    source = JwksFile(path)

    first, again = source.read(), source.read()
    (tmp_path / "new.json").write_text(BOTH)
    (tmp_path / "new.json").replace(path)
    changed = source.read()

    assert first is not None
    assert again is None
    assert changed is not None
    assert len(changed) == 2


def test_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read is a failure like any other."""
    with pytest.raises(KeySourceFailed):
        JwksFile(tmp_path / "none.json").read()


def test_refresh_brings_keys(site: Site) -> None:
    """A verifier without keys has them as soon as the thread has read its source."""
    verifier = Verifier(ISSUER, "orders", clock=lambda: NOW)

    with KeyRefresh(verifier, JwksUrl(site.url)) as refresh:
        refresh.ready()

    assert verifier.verify(mint()).session_id == "session-1"


def test_refresh_follows_changes(tmp_path: Path) -> None:
    """Keys change while the program runs."""
    path = tmp_path / "jwks.json"
    path.write_text(JWKS)
    verifier = Verifier(ISSUER, "orders", clock=lambda: NOW)

    with KeyRefresh(verifier, JwksFile(path, every_ms=10)) as refresh:
        refresh.ready()
        path.write_text(BOTH)
        until(lambda: len(verifier.keys or ()) == 2)


def test_failure_keeps_the_last_good_set(tmp_path: Path) -> None:
    """Neither an outage nor a set that must not be used takes away the keys in force."""
    path = tmp_path / "jwks.json"
    path.write_text(JWKS)
    verifier, refused = Verifier(ISSUER, "orders", clock=lambda: NOW), threading.Event()
    source = JwksFile(path, every_ms=10)

    class Telling:
        every_ms = 10

        def read(self) -> KeySet | None:
            try:
                return source.read()
            except KeySetRefused:
                refused.set()
                raise

    with KeyRefresh(verifier, Telling()) as refresh:
        refresh.ready()
        path.write_text('{"keys": [{"kty": "oct", "k": "AA"}]}')
        assert refused.wait(10)

    assert verifier.verify(mint()).session_id == "session-1"


class Counted:
    """A source that counts its reads and holds the keys it is given."""

    every_ms = 3_600_000

    def __init__(self) -> None:
        self.reads = 0
        self.keys = KeySet([Key.from_jwk(JWK)])

    def read(self) -> KeySet:
        self.reads += 1
        return self.keys


def test_unknown_key_brings_the_next_read_forward() -> None:
    """A token of a key just made passes soon, long before the next read was due."""
    verifier, source = Verifier(ISSUER, "orders", clock=lambda: NOW), Counted()

    def passes() -> bool:
        try:
            return verifier.verify(UNKNOWN) is not None
        except UnknownKey:
            return False

    with KeyRefresh(verifier, source, key_fetch_ms=10) as refresh:
        refresh.ready()
        source.keys = KeySet([Key.from_jwk(JWK), Key.from_jwk(OTHER_JWK)])
        until(passes)

    assert source.reads == 2


def test_unknown_keys_cost_one_read_in_thirty_seconds() -> None:
    """A flood of tokens that name unknown keys reaches nobody else."""
    verifier, source = Verifier(ISSUER, "orders", clock=lambda: NOW), Counted()

    with KeyRefresh(verifier, source) as refresh:
        refresh.ready()
        for number in range(200):
            with pytest.raises(UnknownKey):
                verifier.verify(mint(head=header(kid=f"key-{number}")))

    assert source.reads == 1


def own_certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that signed itself, and a server's context that shows it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, both = directory / "certificate.pem", directory / "both.pem"
    path.write_bytes(pem)
    both.write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return path, context
