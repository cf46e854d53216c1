"""Wycheproof's JWS and JWK vectors, against the core pinned to one key and against what is shipped.

The core is shown algorithms here that are not shipped (HS*, RS384, RS512, PS*, RSA from 2048 bits), so that
its own strictness is what refuses, not the short allow-list.
"""

import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from authsvc_client.strict import (
    ALGORITHMS,
    Algorithm,
    BadSignature,
    Key,
    KeyRefused,
    KeySet,
    KeySetRefused,
    TokenRejected,
    UnknownKey,
    verify_access_token,
    verify_jws,
)
from authsvc_client.strict.algorithms import Check, octets, rsa_key
from authsvc_client.strict.compact import decode_base64url

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no test vectors at {VECTORS}")

# The file says valid and we refuse: the key's alg is not the header's, or there is a "?" inside base64url.
STRICTER = {346, 347, 350, 351, 372, 373}
# The file says invalid, but token and key are those of the valid 357, byte for byte: the padding they are named
# after got lost (C2SP/wycheproof#236). No verifier can agree with all three.
CONTRADICTORY = {367, 370}


def rsa_algorithm(name: str, pad: Callable[[hashes.HashAlgorithm], Any], digest: Any) -> Algorithm:
    def build(jwk: Mapping[str, Any]) -> Check:
        key = rsa_key(jwk, min_bits=2048)

        def check(signature: bytes, signed: bytes) -> None:
            try:
                key.verify(signature, signed, pad(digest), digest)
            except InvalidSignature:
                raise BadSignature from None

        return check

    return Algorithm(name, "RSA", None, build)


def pkcs1(_: hashes.HashAlgorithm) -> padding.PKCS1v15:
    return padding.PKCS1v15()


def pss(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)


DIGESTS = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
WIDE = {
    **ALGORITHMS,
    **{f"RS{bits}": rsa_algorithm(f"RS{bits}", pkcs1, digest) for bits, digest in DIGESTS.items()},
    **{f"PS{bits}": rsa_algorithm(f"PS{bits}", pss, digest) for bits, digest in DIGESTS.items()},
}


def symmetric_key(jwk: Mapping[str, Any]) -> Key:
    secret = octets(jwk, "k")
    digest = "sha" + jwk["alg"].removeprefix("HS")

    def check(signature: bytes, signed: bytes) -> None:
        if not hmac.compare_digest(signature, hmac.digest(secret, signed, digest)):
            raise BadSignature

    return Key(jwk["kid"], jwk["alg"], "", check)


def core_key(jwk: Mapping[str, Any]) -> Key:
    return symmetric_key(jwk) if jwk["kty"] == "oct" else Key.from_jwk(jwk, WIDE)


def core_accepts(jws: str, jwk: Mapping[str, Any]) -> bool:
    try:
        verify_jws(jws, core_key(jwk))
    except (KeyRefused, TokenRejected):
        return False
    return True


def set_accepts(jws: str, jwks: object, algorithms: Mapping[str, Algorithm]) -> str:
    """What happens to `jws` under a key set: "accepted", or the name of the refusal."""
    try:
        keys = KeySet.from_jwks(json.dumps(jwks), algorithms)
        key = keys.get(header_kid(jws))
        if key is None:
            raise UnknownKey
        verify_jws(jws, key)
    except (KeySetRefused, TokenRejected) as refusal:
        return type(refusal).__name__
    return "accepted"


def header_kid(jws: str) -> str:
    try:
        return str(json.loads(decode_base64url(jws.partition(".")[0])).get("kid"))
    except ValueError:
        return ""


def vectors(name: str) -> Iterator[tuple[int, bool, str, Any]]:
    """(number, valid, token, key or key set) of each test of a file."""
    for group in json.loads((VECTORS / name).read_text())["testGroups"]:
        for test in group["tests"]:
            yield (
                test["tcId"],
                test["result"] == "valid",
                test["jws"],
                group.get("public") or group["private"],
            )


def signature_vectors() -> list[tuple[int, bool, str, Any]]:
    return list(vectors("wycheproof_json_web_signature.json"))


def test_core_agrees_with_every_vector_that_does_not_contradict_itself() -> None:
    """A verifier pinned to one key gives Wycheproof's verdict wherever one can, and else only refuses more."""
    cases = signature_vectors()

    verdicts = {number: (valid, core_accepts(jws, jwk)) for number, valid, jws, jwk in cases}

    disagreements = {number for number, (expected, actual) in verdicts.items() if expected != actual}
    assert len(verdicts) == 401
    assert disagreements == STRICTER | CONTRADICTORY
    assert not any(verdicts[number][1] for number in STRICTER)


def test_contradictory_vectors_are_the_valid_one() -> None:
    """The two vectors we cannot satisfy really repeat the valid one; the padding they meant is refused."""
    cases = {number: (jws, jwk) for number, _, jws, jwk in signature_vectors()}
    jws, jwk = cases[357]
    header, payload, signature = jws.split(".")

    padded = [
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}==.{signature}",
        f"{header}=.{payload}.{signature}",
    ]

    assert all(cases[number] == (jws, jwk) for number in CONTRADICTORY)
    assert core_accepts(jws, jwk)
    assert not any(core_accepts(text, jwk) for text in padded)


def test_shipped_allow_list_accepts_only_valid_es256() -> None:
    """Under a shipped key set nothing passes but valid signatures of an allowed algorithm and key size."""
    cases = signature_vectors()

    accepted = {n for n, _, jws, jwk in cases if set_accepts(jws, {"keys": [jwk]}, ALGORITHMS) == "accepted"}

    assert accepted == {n for n, valid, _, jwk in cases if valid and jwk.get("alg") == "ES256"}
    assert len(accepted) >= 2


def test_no_vector_is_an_access_token() -> None:
    """No Wycheproof token, validly signed or not, is ever taken for an access token."""
    for _, _, jws, jwk in signature_vectors():
        with pytest.raises((KeySetRefused, TokenRejected)):
            verify_access_token(
                jws, KeySet.from_jwks(json.dumps({"keys": [jwk]})), issuer="https://auth.example", now=0
            )


# What the shipped verifier says of each key set. Symmetric keys (and so every doubled kid in the file) refuse
# the set; encryption keys, weak RSA and keys whose members disagree are skipped, and their tokens unknown.
SHIPPED = dict.fromkeys((1, 2, 3, 4, *range(10, 19), 25, 26), "KeySetRefused") | dict.fromkeys(
    (*range(5, 10), *range(19, 25)), "UnknownKey"
)
# With RSA from 2048 bits allowed, the one sound RSA set of the file passes; the unsound ones still do not.
LIFTED = SHIPPED | {5: "accepted"}


@pytest.mark.parametrize("number", range(1, 27))
def test_key_set(number: int) -> None:
    """Each of the 26 key sets is refused, skipped or used as listed, whether or not 2048 bits suffice."""
    cases = {n: (jws, jwks) for n, _, jws, jwks in vectors("wycheproof_json_web_key.json")}
    jws, jwks = cases[number]

    verdicts = set_accepts(jws, jwks, ALGORITHMS), set_accepts(jws, jwks, WIDE)

    assert len(cases) == 26
    assert verdicts == (SHIPPED[number], LIFTED[number])


def test_key_set_verdicts_agree_with_the_file() -> None:
    """Nothing the file calls invalid is accepted, even with the wider algorithms."""
    accepted = {
        n
        for n, valid, jws, jwks in vectors("wycheproof_json_web_key.json")
        if not valid and set_accepts(jws, jwks, WIDE) == "accepted"
    }

    assert accepted == set()


def test_core_needs_the_key_itself() -> None:
    """The pinned core refuses a valid vector under another key of the same algorithm: it does check."""
    jws = next(jws for number, _, jws, _ in signature_vectors() if number == 18)
    # The example key of RFC 7517, appendix A.1.
    other = {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "kid": "1",
    }

    with pytest.raises(BadSignature):
        verify_jws(jws, core_key(other))
