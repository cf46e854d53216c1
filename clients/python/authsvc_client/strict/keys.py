"""Public keys to verify with: one key, one algorithm; and the set that is in force (RFC 7517, RFC 7638).

A key is built once, when its set arrives, never on the path of a request. Where sets come from, how old
they may get and which keys are distrusted belong to whoever fetches them: a distrusted key is simply not
in the set.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authsvc_client.strict.algorithms import ALGORITHMS, Algorithm, Check
from authsvc_client.strict.errors import KeyRefused, KeySetRefused
from authsvc_client.strict.strictjson import parse_object

MAX_KEY_SET_BYTES: Final = 64 * 1024
MAX_KEY_ID_CHARS: Final = 64
# keys → list → key → key_ops or x5c, and some room for members that we do not know.
_KEY_SET_DEPTH: Final = 8
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_REQUIRED_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that verifies exactly one algorithm. Two keys are equal when their material is."""

    key_id: str
    algorithm: str
    thumbprint: str
    check: Check = field(compare=False, repr=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], algorithms: Mapping[str, Algorithm] = ALGORITHMS) -> "Key":
        """The key in a public JWK. Raises KeyRefused when `jwk` is unsound, private, or not for verifying.

        `use`, `key_ops` and `alg` are honoured; without `alg`, the kind of key decides (RFC 7517 §4).
        """
        key_id = _key_id(jwk)
        _check_purpose(jwk)
        algorithm = _algorithm(jwk, algorithms)
        return cls(key_id, algorithm.name, thumbprint(jwk), algorithm.build(jwk))


class KeySet:
    """The keys in force, by `kid`. Never changes: a new set is a new object."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        """Raises KeySetRefused when two keys share a `kid`."""
        listed = tuple(keys)
        self._keys = {key.key_id: key for key in listed}
        if len(self._keys) != len(listed):
            raise KeySetRefused("two keys share a kid")

    @classmethod
    def from_jwks(cls, source: str | bytes, algorithms: Mapping[str, Algorithm] = ALGORITHMS) -> "KeySet":
        """The usable keys of a JWK set document (RFC 7517 §5); a set without any is empty, not an error.

        Single bad members are skipped. Raises KeySetRefused when the document is larger than 64 KiB or
        not strict JSON, when a `kid` occurs twice, or when it holds a symmetric key, which a public set
        never does.
        """
        members = _members(source)
        if any(member.get("kty") == "oct" or "k" in member for member in members):
            raise KeySetRefused("a symmetric key is in the set")
        key_ids = [kid for member in members if isinstance(kid := member.get("kid"), str)]
        if len(set(key_ids)) != len(key_ids):
            raise KeySetRefused("two keys share a kid")
        return cls(_usable(members, algorithms))

    def get(self, key_id: str) -> Key | None:
        """The key with this `kid`, or None."""
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The RFC 7638 SHA-256 thumbprint of a JWK, base64url: 43 characters, our `kid`.

    Only the members that make the key count. Raises KeyRefused when one is missing or `kty` is unknown.
    """
    kty = jwk.get("kty")
    names = _REQUIRED_MEMBERS.get(kty) if isinstance(kty, str) else None
    if names is None:
        raise KeyRefused("kty is not known")
    if not all(isinstance(jwk.get(name), str) for name in names):
        raise KeyRefused("a member that makes the key is missing")
    canonical = dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
    return _base64url(sha256(canonical.encode()).digest())


def public_jwk(key: PublicKey) -> dict[str, str]:
    """The JWK to publish for a public key: public members, `alg`, `use` and the thumbprint as `kid`.

    Raises KeyRefused for a kind of key that no shipped algorithm uses.
    """
    jwk, algorithm = _public_members(key)
    return {**jwk, "alg": algorithm, "use": "sig", "kid": thumbprint(jwk)}


def _public_members(key: PublicKey) -> tuple[dict[str, str], str]:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_numbers()
        x, y = _base64url(point.x.to_bytes(32, "big")), _base64url(point.y.to_bytes(32, "big"))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}, "ES256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_bytes_raw())}, "EdDSA"
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _base64url_number(numbers.n), "e": _base64url_number(numbers.e)}, "RS256"
    raise KeyRefused("no shipped algorithm uses this kind of key")


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _base64url_number(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _members(source: str | bytes) -> list[dict[str, Any]]:
    """The JSON objects under `keys`; members of any other type are bad members, and skipped."""
    try:
        raw = source.encode("utf-8") if isinstance(source, str) else source
        if len(raw) > MAX_KEY_SET_BYTES:
            raise KeySetRefused("the key set is too large")
        members = parse_object(raw, _KEY_SET_DEPTH).get("keys")
    except ValueError:
        raise KeySetRefused("the key set is not strict JSON") from None
    if not isinstance(members, list):
        raise KeySetRefused("the key set has no keys member")
    return [member for member in members if isinstance(member, dict)]


def _usable(members: Iterable[Mapping[str, Any]], algorithms: Mapping[str, Algorithm]) -> Iterator[Key]:
    for member in members:
        try:
            yield Key.from_jwk(member, algorithms)
        except KeyRefused:
            continue


def _key_id(jwk: Mapping[str, Any]) -> str:
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID_CHARS:
        raise KeyRefused("kid is missing or too long")
    return key_id


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise KeyRefused("private members are present")
    if jwk.get("use", "sig") != "sig":
        raise KeyRefused("use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyRefused("key_ops does not allow verify")


def _algorithm(jwk: Mapping[str, Any], algorithms: Mapping[str, Algorithm]) -> Algorithm:
    """The one algorithm of a key: the one it names, or the first of the allow-list for its kind."""
    kind = (jwk.get("kty"), jwk.get("crv"))
    for algorithm in algorithms.values():
        if kind == (algorithm.kty, algorithm.crv) and jwk.get("alg", algorithm.name) == algorithm.name:
            return algorithm
    raise KeyRefused("no allowed algorithm fits the key")
