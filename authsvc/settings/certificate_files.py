"""Owns reading certificate files, and that what is in them fits together. Leaves using them to `authsvc.app`."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from authsvc.core.clock import SECOND

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class CertificatesUnusable(ValueError):
    """The files cannot be used. The message says which and why, and holds nothing of a key."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its private key, both PEM; and when the certificate is good."""

    chain: bytes
    key: bytes = field(repr=False)
    begins_at: int
    expires_at: int


def read_pair(cert: Path, key: Path) -> Pair:
    """Return a certificate and the key that belongs to it. Raises CertificatesUnusable."""
    chain, private = _read(cert), _read(key)
    leaf = _certificates(chain, cert)[0]
    try:
        public = load_pem_private_key(private, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificatesUnusable(f"{key} holds no private key that opens without a password") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if public.public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise CertificatesUnusable(f"the key in {key} is not that of the first certificate in {cert}")
    return Pair(chain, private, _at(leaf.not_valid_before_utc), _at(leaf.not_valid_after_utc))


def read_authorities(file: Path) -> bytes:
    """Return certificates of authorities, as PEM. Raises CertificatesUnusable."""
    found = _read(file)
    _certificates(found, file)
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificatesUnusable(f"cannot read {file}: {error.strerror}") from None


def _certificates(pem: bytes, file: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if not found or len(found) != pem.count(
        _BEGIN
    ):  # what is cut off at the end of a file is not seen as an error
        raise CertificatesUnusable(f"{file} holds no certificate, or not whole ones")
    return found


def _at(moment: datetime.datetime) -> int:
    return int(moment.timestamp()) * SECOND
