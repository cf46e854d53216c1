"""An authority for certificates, which signs whatever a test wants."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)
_NAMELESS = x509.Name([])

Name = x509.GeneralName


def dns(name: str) -> Name:
    """A DNS name."""
    return x509.DNSName(name)


def uri(name: str) -> Name:
    """A URI."""
    return x509.UniformResourceIdentifier(name)


def address(name: str) -> Name:
    """An IP address."""
    return x509.IPAddress(ipaddress.ip_address(name))


def email(name: str) -> Name:
    """A mail address."""
    return x509.RFC822Name(name)


@dataclass(frozen=True)
class Signed:
    """A certificate with its chain, and its key, as PEM."""

    chain: bytes
    key: bytes

    def write(self, directory: Path, name: str = "cert") -> tuple[Path, Path]:
        """Write both; return their files."""
        cert_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
        cert_file.write_bytes(self.chain)
        key_file.write_bytes(self.key)
        return cert_file, key_file


class Authority:
    """An authority with a certificate of its own (`pem`)."""

    def __init__(self, name: str = "An authority") -> None:
        self._name = x509.Name.from_rfc4514_string(f"CN={name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._certificate(self._name, self._key.public_key(), (), _DAY, -_DAY, is_authority=True)

    def sign(
        self,
        *names: Name,
        common_name: str = "",
        expires_in: datetime.timedelta = _DAY,
        begins_in: datetime.timedelta = -_DAY,
    ) -> Signed:
        """Return a certificate for these names, by default one that is good since yesterday and until tomorrow."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name.from_rfc4514_string(f"CN={common_name}") if common_name else _NAMELESS
        leaf = self._certificate(subject, key.public_key(), names, expires_in, begins_in)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return Signed(leaf + self.pem, key.private_bytes(*form))

    def write(self, directory: Path, name: str = "ca") -> Path:
        """Write the authority's own certificate; return the file."""
        file = directory / f"{name}.pem"
        file.write_bytes(self.pem)
        return file

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: tuple[Name, ...],
        expires_in: datetime.timedelta,
        begins_in: datetime.timedelta,
        is_authority: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(min(now + begins_in, now + expires_in - _DAY))
            .not_valid_after(now + expires_in)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=subject == _NAMELESS)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def server_names() -> tuple[Name, ...]:
    """What a server on this machine is called by."""
    return dns("localhost"), address("127.0.0.1"), address("::1")
