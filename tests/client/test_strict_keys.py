"""Keys and key sets: what may verify at all, and the thumbprints that name keys."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authsvc_client.strict import (
    ALGORITHMS,
    Key,
    KeyRefused,
    KeySet,
    KeySetRefused,
    public_jwk,
    thumbprint,
    verify_jws,
)
from authsvc_client.strict.compact import decode_base64url
from tests.client.strict_minting import DROP, JWK, KEY, OTHER_JWK, PrivateKey, b64, header, mint

RSA_3072 = rsa.generate_private_key(65537, 3072)
RSA_JWK = public_jwk(RSA_3072.public_key())


def jwks(*members: object) -> str:
    return json.dumps({"keys": members})


def changed(jwk: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (jwk | changes).items() if value is not DROP}


def rsa_with(n: int, e: int = 65537) -> dict[str, str]:
    numbers = {name: b64(v.to_bytes((v.bit_length() + 7) // 8, "big")) for name, v in (("n", n), ("e", e))}
    return {"kty": "RSA", "kid": "rsa", **numbers}


# The example keys of RFC 7638 §3.1 and RFC 8037 §A.2 with their thumbprints.
RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
    "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
    "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
    "kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        (RFC_7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (RFC_8037, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ],
)
def test_thumbprint_of_the_rfc_examples(jwk: dict[str, str], expected: str) -> None:
    """The examples of the RFCs have the thumbprints printed there."""
    assert thumbprint(jwk) == expected


def test_thumbprint_ignores_everything_but_the_key() -> None:
    """Order and other members do not change a thumbprint; the key's own members do."""
    shuffled = dict(reversed(JWK.items())) | {"state": "active", "kid": "x", "use": "enc"}

    assert thumbprint(shuffled) == thumbprint(JWK)
    assert thumbprint(changed(JWK, x=JWK["y"])) != thumbprint(JWK)


@pytest.mark.parametrize(
    "jwk", [{}, {"kty": "oct", "k": "AA"}, {"kty": []}, changed(JWK, y=DROP), changed(JWK, y=1)]
)
def test_thumbprint_needs_a_public_key(jwk: dict[str, Any]) -> None:
    """What is not a whole public key of a known kind has no thumbprint."""
    with pytest.raises(KeyRefused):
        thumbprint(jwk)


@pytest.mark.parametrize(
    ("key", "algorithm", "members"),
    [
        (KEY, "ES256", {"kty", "crv", "x", "y"}),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA", {"kty", "crv", "x"}),
        (RSA_3072, "RS256", {"kty", "n", "e"}),
    ],
    ids=["ES256", "EdDSA", "RS256"],
)
def test_published_key_verifies_what_the_private_key_signed(
    key: PrivateKey, algorithm: str, members: set[str]
) -> None:
    """A published JWK holds public members only, is named by its thumbprint, and verifies."""
    jwk = public_jwk(key.public_key())

    keys = KeySet.from_jwks(jwks(jwk))

    assert set(jwk) == members | {"alg", "use", "kid"}
    assert jwk["kid"] == thumbprint(jwk)
    found = keys.get(jwk["kid"])
    assert found is not None
    assert found.algorithm == algorithm
    verify_jws(mint(head=header(alg=algorithm, kid=jwk["kid"]), key=key), found)


def test_only_shipped_kinds_of_key_are_published() -> None:
    """A key that no verifier would accept is never published."""
    with pytest.raises(KeyRefused):
        public_jwk(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_key_coordinates_keep_their_leading_zeros() -> None:
    """A coordinate that starts with zeros is still written in 32 bytes (RFC 7518 §6.2.1.2)."""
    jwk = small_x()

    assert len(jwk["x"]) == 43
    assert Key.from_jwk(jwk).algorithm == "ES256"


def small_key(secret: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(secret, ec.SECP256R1())


def small_x() -> dict[str, str]:
    """The JWK of a key whose x coordinate starts with a zero byte."""
    keys = (small_key(secret).public_key() for secret in range(1, 2000))
    return public_jwk(next(key for key in keys if key.public_numbers().x < 2**248))


SMALL_X = small_x()

BAD_MEMBERS = {
    "kid-missing": changed(JWK, kid=DROP),
    "kid-empty": changed(JWK, kid=""),
    "kid-number": changed(JWK, kid=1),
    "kid-too-long": changed(JWK, kid="k" * 65),
    "kty-missing": changed(JWK, kty=DROP),
    "kty-of-another": changed(JWK, kty="RSA"),
    "kty-unknown": changed(JWK, kty="AKP"),
    "crv-missing": changed(JWK, crv=DROP),
    "crv-other": changed(JWK, crv="P-384"),
    "crv-lower-case": changed(JWK, crv="p-256"),
    "use-encryption": changed(JWK, use="enc"),
    "use-null": changed(JWK, use=None),
    "use-list": changed(JWK, use=["sig"]),
    "key-ops-sign-only": changed(JWK, key_ops=["sign"]),
    "key-ops-empty": changed(JWK, key_ops=[]),
    "key-ops-text": changed(JWK, key_ops="verify"),
    "alg-not-allowed": changed(JWK, alg="ES384"),
    "alg-of-another": changed(JWK, alg="RS256"),
    "alg-lower-case": changed(JWK, alg="es256"),
    "alg-null": changed(JWK, alg=None),
    "alg-none": changed(JWK, alg="none"),
    "alg-symmetric-on-public-key": changed(JWK, alg="HS256"),
    "point-not-on-curve": changed(JWK, y=JWK["x"]),
    "point-at-zero": changed(JWK, x="A" * 43, y="A" * 43),
    "coordinate-short": changed(SMALL_X, x=b64(decode_base64url(SMALL_X["x"])[1:])),
    "coordinate-long": changed(JWK, x=b64(b"\0" + decode_base64url(JWK["x"]))),
    "coordinate-padded": changed(JWK, x=JWK["x"] + "="),
    "coordinate-not-ascii": changed(JWK, x="\u0430" * 43),
    "coordinate-missing": changed(JWK, y=DROP),
    "private-members": changed(JWK, d="AQ"),
    "ed25519-short": changed(OTHER_JWK, x=b64(bytes(31))),
    "ed25519-as-x25519": changed(OTHER_JWK, crv="X25519"),
    "rsa-2048": rsa_with(2**2047 + 1),
    "rsa-3071": rsa_with(2**3070 + 1),
    "rsa-16384": rsa_with(2**16383 + 1),
    "rsa-exponent-1": changed(RSA_JWK, e="AQ"),
    "rsa-exponent-3": changed(RSA_JWK, e="Aw"),
    "rsa-exponent-even": changed(RSA_JWK, e=b64((2**16 + 2).to_bytes(3, "big"))),
    "rsa-exponent-huge": changed(RSA_JWK, e=b64((2**64 + 1).to_bytes(9, "big"))),
    "rsa-modulus-even": rsa_with(2**3071),
    "rsa-modulus-empty": changed(RSA_JWK, n=""),
    "rsa-pss": changed(RSA_JWK, alg="PS256"),
    "not-an-object": ["kty", "EC"],
    "null": None,
    "empty": {},
}


@pytest.mark.parametrize("member", [pytest.param(jwk, id=name) for name, jwk in BAD_MEMBERS.items()])
def test_bad_member_is_skipped(member: object) -> None:
    """A member that must not verify is left out, and the good ones beside it stay usable."""
    keys = KeySet.from_jwks(jwks(member, changed(OTHER_JWK, kid="good")))

    assert [key.key_id for key in keys] == ["good"]


@pytest.mark.parametrize(
    "member",
    [
        changed(JWK, use=DROP, alg=DROP),
        changed(JWK, key_ops=["verify"]),
        changed(JWK, state="retiring", x5c=["AA"], other={"a": [[1]]}),
        changed(RSA_JWK, alg=DROP),
    ],
    ids=["bare", "key-ops", "unknown-members", "rsa-without-alg"],
)
def test_good_member_is_used(member: dict[str, Any]) -> None:
    """Optional members may be absent, and unknown ones are ignored (RFC 7517 §4)."""
    assert len(KeySet.from_jwks(jwks(member))) == 1


REFUSED_SETS = {
    "empty": "",
    "array": json.dumps([JWK]),
    "keys-missing": json.dumps(JWK),
    "keys-object": json.dumps({"keys": {"a": JWK}}),
    "keys-twice": '{"keys":[],"keys":[]}',
    "member-with-duplicates": '{"keys":[{"kty":"EC","kty":"EC"}]}',
    "nan": '{"keys":[],"x":NaN}',
    "byte-order-mark": "\ufeff" + jwks(JWK),
    "utf-16": jwks(JWK).encode("utf-16"),
    "lone-surrogate": jwks(JWK) + "\ud800",
    "nested": '{"keys":' + "[" * 5000 + "]" * 5000 + "}",
    "too-large": jwks(JWK) + " " * 65536,
    "kid-twice": jwks(JWK, changed(OTHER_JWK, kid=JWK["kid"])),
    "kid-twice-on-same-key": jwks(JWK, JWK),
    "kid-twice-on-bad-member": jwks(JWK, changed(OTHER_JWK, kid=JWK["kid"], use="enc")),
    "symmetric": jwks(JWK, {"kty": "oct", "k": "AAAA", "kid": "s", "alg": "HS256"}),
    "symmetric-without-secret": jwks(JWK, {"kty": "oct", "kid": "s"}),
    "symmetric-under-other-kty": jwks(JWK, changed(OTHER_JWK, k="AAAA")),
}


@pytest.mark.parametrize("source", [pytest.param(text, id=name) for name, text in REFUSED_SETS.items()])
def test_bad_set_is_refused_whole(source: str | bytes) -> None:
    """A set that two readers could read differently, or that leaks a secret, is not used at all."""
    with pytest.raises(KeySetRefused):
        KeySet.from_jwks(source)


def test_set_without_usable_keys_is_empty() -> None:
    """An issuer may distrust all its keys: an empty set is a set, and verifies nothing."""
    keys = KeySet.from_jwks(b'{"keys":[]}')

    assert len(keys) == 0
    assert keys.get(JWK["kid"]) is None


def test_deployment_may_allow_fewer_algorithms() -> None:
    """A key of an algorithm that is not on the list is left out."""
    keys = KeySet.from_jwks(jwks(JWK, OTHER_JWK, RSA_JWK), {"EdDSA": ALGORITHMS["EdDSA"]})

    assert [key.key_id for key in keys] == [OTHER_JWK["kid"]]


def test_keys_are_equal_by_material() -> None:
    """The same key fetched again equals the first; another key under the same kid does not."""
    imposter = changed(OTHER_JWK, kid=JWK["kid"])

    assert Key.from_jwk(JWK) == Key.from_jwk(dict(JWK))
    assert Key.from_jwk(imposter) != Key.from_jwk(JWK)


def test_set_of_keys_with_one_kid_twice_is_refused() -> None:
    """However a set is made, a kid names one key."""
    with pytest.raises(KeySetRefused):
        KeySet([Key.from_jwk(JWK), Key.from_jwk(changed(OTHER_JWK, kid=JWK["kid"]))])


def test_shipped_algorithms_are_the_three() -> None:
    """No symmetric algorithm and no `none` can ever be asked for."""
    assert set(ALGORITHMS) == {"ES256", "EdDSA", "RS256"}
