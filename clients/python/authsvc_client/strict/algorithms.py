"""The signature algorithms that are shipped: ES256, EdDSA with Ed25519, RS256 from 3072 bits.

An `Algorithm` turns the members of a public JWK into a check that is kept with the key. There is no
symmetric algorithm and no `none` here, so no header can ask for one. Which key a token may use is not
decided here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.strict.compact import decode_base64url
from authsvc_client.strict.errors import BadSignature, KeyRefused

Check = Callable[[bytes, bytes], None]
"""Takes (signature, signed bytes); raises BadSignature, or returns nothing when the signature holds."""

MIN_RSA_BITS: Final = 3072
# Beyond this a single verification costs milliseconds.
MAX_RSA_BITS: Final = 8192


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One `alg` name, the one kind of key it goes with, and how to build its check from a JWK.

    `build` raises KeyRefused when the members do not make a sound public key of that kind.
    """

    name: str
    kty: str
    crv: str | None
    build: Callable[[Mapping[str, Any]], Check]


def octets(jwk: Mapping[str, Any], member: str) -> bytes:
    """The bytes in a JWK's member. Raises KeyRefused when it is absent or not canonical base64url."""
    value = jwk.get(member)
    if not isinstance(value, str):
        raise KeyRefused(f"{member} is missing")
    try:
        return decode_base64url(value)
    except ValueError:
        raise KeyRefused(f"{member} is not base64url") from None


def rsa_key(jwk: Mapping[str, Any], *, min_bits: int = MIN_RSA_BITS) -> rsa.RSAPublicKey:
    """The RSA key of a JWK (RFC 7518 §6.3.1). Raises KeyRefused when it is too weak, or too large to bear."""
    n = int.from_bytes(octets(jwk, "n"), "big")
    e = int.from_bytes(octets(jwk, "e"), "big")
    if not min_bits <= n.bit_length() <= MAX_RSA_BITS or n % 2 == 0:
        raise KeyRefused("RSA modulus is not allowed")
    if not 65537 <= e < 2**32 or e % 2 == 0:
        raise KeyRefused("RSA exponent is not allowed")
    if _looks_like_roca(n):
        raise KeyRefused("RSA modulus comes from a broken generator")
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise KeyRefused("not an RSA key") from None


_ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


def _looks_like_roca(n: int) -> bool:
    """Whether `n` is, modulo every one of these primes, a power of 65537 (CVE-2017-15361).

    Primes of the broken generator always are; a random modulus is by chance less than once in 2^27.
    """
    return all(n % p in {pow(65537, k, p) for k in range(p)} for p in _ROCA_PRIMES)


def _es256(jwk: Mapping[str, Any]) -> Check:
    x, y = octets(jwk, "x"), octets(jwk, "y")
    if len(x) != 32 or len(y) != 32:
        raise KeyRefused("coordinates are not 32 bytes")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
    )
    try:
        verify = numbers.public_key().verify
    except ValueError:
        raise KeyRefused("not a point on P-256") from None
    ecdsa = ec.ECDSA(SHA256())

    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != 64:
            raise BadSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            verify(encode_dss_signature(r, s), signed, ecdsa)
        except InvalidSignature:
            raise BadSignature from None

    return check


def _eddsa(jwk: Mapping[str, Any]) -> Check:
    try:
        verify = Ed25519PublicKey.from_public_bytes(octets(jwk, "x")).verify
    except ValueError:
        raise KeyRefused("not an Ed25519 key") from None

    def check(signature: bytes, signed: bytes) -> None:
        try:
            verify(signature, signed)
        except InvalidSignature:
            raise BadSignature from None

    return check


def _rs256(jwk: Mapping[str, Any]) -> Check:
    verify = rsa_key(jwk).verify
    pkcs1, sha256 = padding.PKCS1v15(), SHA256()

    def check(signature: bytes, signed: bytes) -> None:
        try:
            verify(signature, signed, pkcs1, sha256)
        except InvalidSignature:
            raise BadSignature from None

    return check


ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        "ES256": Algorithm("ES256", "EC", "P-256", _es256),
        "EdDSA": Algorithm("EdDSA", "OKP", "Ed25519", _eddsa),
        "RS256": Algorithm("RS256", "RSA", None, _rs256),
    }
)
"""The shipped allow-list by `alg`; a deployment may pass a narrower one."""
