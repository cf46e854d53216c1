"""Owns a signing key that lives as long as a test does. Leaves what is signed to `minting` and `fake`."""

import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.strict import public_jwk


class ThrowawayKey:
    """An ES256 key pair made anew, in memory only. `jwk` is its public half, `key_id` its thumbprint (RFC 7638)."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.jwk = public_jwk(self._private.public_key())
        self.key_id = self.jwk["kid"]

    def sign(self, claims: dict[str, Any]) -> str:
        """The compact JWS (RFC 7515 §7.1) of type `at+jwt` over these claims, whatever they are."""
        header = {"alg": "ES256", "kid": self.key_id, "typ": "at+jwt"}
        signed = f"{_part(header)}.{_part(claims)}"
        r, s = decode_dss_signature(self._private.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(content: dict[str, Any]) -> str:
    return _base64url(json.dumps(content, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
