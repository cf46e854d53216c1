"""Signs whatever a test asks for, well formed or not, so that an attack in the content meets a good signature.

A forger's own tool: libraries refuse to write most of these tokens.
"""

import json
from base64 import urlsafe_b64encode
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.strict import AccessToken, Key, KeySet, public_jwk, verify_access_token

ISSUER: Final = "https://auth.example"
NOW: Final = 1_800_000_000_000
NOW_S: Final = NOW // 1000

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KEY: Final = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY: Final = ed25519.Ed25519PrivateKey.generate()
ATTACKER_KEY: Final = ec.generate_private_key(ec.SECP256R1())

JWK: Final = public_jwk(KEY.public_key())
OTHER_JWK: Final = public_jwk(OTHER_KEY.public_key())
KEYS: Final = KeySet([Key.from_jwk(JWK), Key.from_jwk(OTHER_JWK)])

DROP: Final = object()
"""As a value: leave the member out."""


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, changed as asked."""
    good = {
        "iss": ISSUER,
        "sub": "user-1",
        "aud": ["orders", "billing"],
        "client_id": "web",
        "iat": NOW_S - 60,
        "exp": NOW_S + 240,
        "jti": "token-1",
        "sid": "session-1",
        "scope": "orders.read orders.write",
        "auth_time": NOW_S - 3600,
        "amr": ["pwd"],
    }
    return _merge(good, changes)


def header(**changes: Any) -> dict[str, Any]:
    """The header of a good token under KEY, changed as asked."""
    return _merge({"alg": "ES256", "typ": "at+jwt", "kid": JWK["kid"]}, changes)


def mint(
    payload: dict[str, Any] | bytes | None = None,
    head: dict[str, Any] | bytes | None = None,
    key: PrivateKey = KEY,
) -> str:
    """A token over exactly these bytes, correctly signed by `key` whatever the header says."""
    signed = b64(_bytes(header() if head is None else head))
    signed += "." + b64(_bytes(claims() if payload is None else payload))
    return f"{signed}.{b64(sign(signed.encode(), key))}"


def sign(signed: bytes, key: PrivateKey = KEY) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), SHA256())
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(token: str, keys: KeySet = KEYS, *, now: int = NOW) -> AccessToken:
    return verify_access_token(token, keys, issuer=ISSUER, now=now)


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _bytes(content: dict[str, Any] | bytes) -> bytes:
    return content if isinstance(content, bytes) else to_json(content)


def _merge(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (good | changes).items() if value is not DROP}
