"""TLS, from the server's certificate to the commands that trust it, or do not."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.parts import processes

_NAME = "auth.example.com"
_DAY = datetime.timedelta(days=1)


class _Authority:
    """An authority that signs one certificate for `_NAME`."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "ca.pem"
        self.cert_file, self.key_file = directory / "cert.pem", directory / "key.pem"
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = x509.Name.from_rfc4514_string("CN=An authority")
        root = _certificate(authority, authority, authority_key.public_key(), authority_key, None)
        leaf = _certificate(authority, x509.Name([]), key.public_key(), authority_key, _NAME)
        self.file.write_bytes(root)
        self.cert_file.write_bytes(leaf + root)
        self.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _certificate(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signed_by: ec.EllipticCurvePrivateKey,
    name: str | None,
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
    )
    if name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
    return builder.sign(signed_by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def tls(settings: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """`settings`, with a certificate and without plaintext."""
    authority = _Authority(tmp_path)
    del settings["PLAINTEXT"]
    return settings | {"TLS_CERT_FILE": str(authority.cert_file), "TLS_KEY_FILE": str(authority.key_file)}


@pytest.fixture
def address(tls: dict[str, str]) -> Iterator[str]:
    """Where a server with these settings listens."""
    with processes.serve(**tls) as serving:
        yield serving.address


def test_a_probe_beside_the_server_needs_no_settings_of_its_own(tls: dict[str, str], address: str) -> None:
    """In the environment of a server, `health` finds and trusts that server, whatever name its certificate has."""
    ended = processes.run("health", **tls | {"LISTEN": address})

    assert (ended.returncode, ended.stdout) == (0, "SERVING\n"), ended.stderr


def test_a_probe_trusts_no_other_server(tls: dict[str, str], address: str, tmp_path: Path) -> None:
    """A server with another certificate at that address is none that the probe believes."""
    (tmp_path / "other").mkdir()
    other = _Authority(tmp_path / "other")

    ended = processes.run("health", LISTEN=address, TLS_CERT_FILE=str(other.cert_file))

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_an_authority_of_ones_own_is_trusted_for_the_names_it_signs(
    tls: dict[str, str], address: str, tmp_path: Path
) -> None:
    """With AUTHSVC_TLS_CA_FILE the certificate must be of that authority, and for the name that is called."""
    ended = processes.run("health", ADDRESS=address, TLS_CA_FILE=str(tmp_path / "ca.pem"))

    assert ended.returncode == 2  # it is called by its number, and the certificate has only a name
    assert "127.0.0.1" in ended.stderr


def test_a_certificate_and_a_strange_key_are_refused(tls: dict[str, str], tmp_path: Path) -> None:
    """A server with a certificate and a key that do not belong together does not start."""
    (tmp_path / "other").mkdir()
    other = _Authority(tmp_path / "other")

    ended = processes.run("serve", **tls | {"TLS_KEY_FILE": str(other.key_file)})

    assert ended.returncode == 2
    assert "is not that of the first certificate in" in ended.stderr
