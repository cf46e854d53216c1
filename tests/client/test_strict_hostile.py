"""Hostile tokens, made by hand. Where the attack is in the content, the signature over it is good."""

import hmac
from base64 import standard_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authsvc_client.strict import (
    BadSignature,
    ClaimInvalid,
    ClaimMissing,
    HeaderRefused,
    TokenExpired,
    TokenMalformed,
    TokenNotYetValid,
    TokenRejected,
    TokenTooLarge,
    UnknownKey,
    WrongAlgorithm,
    WrongIssuer,
    WrongType,
)
from tests.client.strict_minting import (
    ATTACKER_KEY,
    DROP,
    ISSUER,
    JWK,
    KEY,
    NOW_S,
    OTHER_JWK,
    OTHER_KEY,
    b64,
    claims,
    header,
    mint,
    sign,
    to_json,
    verify,
)

Refusal = type[TokenRejected]
Hostile = tuple[str, Callable[[], str], Refusal]

MEGA = 2**53


def head(name: str, refusal: Refusal, **changes: Any) -> Hostile:
    """A good payload under a changed header, correctly signed."""
    return f"header-{name}", lambda: mint(head=header(**changes)), refusal


def raw_head(name: str, raw: bytes, refusal: Refusal = TokenMalformed) -> Hostile:
    return f"header-{name}", lambda: mint(head=raw), refusal


def claim(name: str, refusal: Refusal, **changes: Any) -> Hostile:
    """Changed claims under a good header, correctly signed."""
    return f"claim-{name}", lambda: mint(claims(**changes)), refusal


def raw_payload(name: str, raw: bytes, refusal: Refusal = TokenMalformed) -> Hostile:
    return f"payload-{name}", lambda: mint(raw), refusal


def text(name: str, make: Callable[[str, str, str], str], refusal: Refusal = TokenMalformed) -> Hostile:
    """A text made of the three parts of a good token."""
    return f"text-{name}", lambda: make(*mint().split(".")), refusal


def with_members(good: dict[str, Any], more: bytes) -> bytes:
    """The JSON of `good` with more members written at its end, so that they may repeat earlier ones."""
    return to_json(good)[:-1] + b"," + more + b"}"


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


def under_hmac(secret: bytes) -> str:
    signed = b64(to_json(header(alg="HS256"))) + "." + b64(to_json(claims()))
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def der_signature() -> str:
    signed = mint().rpartition(".")[0]
    raw = sign(signed.encode())
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    return f"{signed}.{b64(encode_dss_signature(r, s))}"


def long_s() -> str:
    """The good signature with a zero before `s`: the same two numbers in 65 bytes."""
    signed = mint().rpartition(".")[0]
    raw = sign(signed.encode())
    return f"{signed}.{b64(raw[:32] + bytes(1) + raw[32:])}"


def unused_bits(part: str) -> str:
    """The same bytes written with a trailing bit set that no decoder needs."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def large(chars: int) -> str:
    """A good token of just under, or exactly, so many characters."""
    room = (chars - len(mint(claims(note="")))) * 3 // 4
    return max(
        (mint(claims(note="x" * n)) for n in range(room - 3, room + 3)), key=lambda t: (len(t) <= chars, t)
    )


PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

TEXTS: list[Hostile] = [
    ("text-empty", lambda: "", TokenMalformed),
    ("text-two-dots", lambda: "..", TokenMalformed),
    ("text-not-a-token", lambda: "ats_0123456789abcdef", TokenMalformed),
    text("one-dot", lambda h, p, s: f"{h}.{p}"),
    text("no-signature", lambda h, p, s: f"{h}.{p}."),
    text("no-header", lambda h, p, s: f".{p}.{s}"),
    text("no-payload", lambda h, p, s: f"{h}..{s}", BadSignature),
    text("five-parts-as-encrypted", lambda h, p, s: f"{h}.{p}.{s}.{p}.{s}"),
    text("trailing-dot", lambda h, p, s: f"{h}.{p}.{s}."),
    text("padding", lambda h, p, s: f"{h}.{p}.{s}=="),
    text("padding-in-header", lambda h, p, s: f"{h}=.{p}.{s}"),
    text("trailing-newline", lambda h, p, s: f"{h}.{p}.{s}\n"),
    text("leading-space", lambda h, p, s: f" {h}.{p}.{s}"),
    text("space-inside", lambda h, p, s: f"{h}.{p[:9]} {p[9:]}.{s}"),
    text("nul-inside", lambda h, p, s: f"{h}.{p}\0.{s}"),
    text("question-mark-inside", lambda h, p, s: f"{h[:4]}?{h[4:]}.{p}.{s}"),
    text("standard-base64", lambda h, p, s: f"{h}.{p}.+/{s[2:]}"),
    text("percent-encoded-dot", lambda h, p, s: f"{h}%2E{p}.{s}"),
    text("fullwidth-dot", lambda h, p, s: f"{h}\uff0e{p}.{s}"),
    text("cyrillic-letter", lambda h, p, s: f"{h}.{p}.\u0430{s[1:]}"),
    text("byte-order-mark", lambda h, p, s: f"\ufeff{h}.{p}.{s}"),
    text("lone-surrogate", lambda h, p, s: f"{h}.{p}.{s}\ud800"),
    text("bearer-prefix", lambda h, p, s: f"Bearer {h}.{p}.{s}"),
    text("json-serialization", lambda h, p, s: f'{{"protected":"{h}","payload":"{p}","signature":"{s}"}}'),
    text("unused-bits-in-signature", lambda h, p, s: f"{h}.{p}.{unused_bits(s)}"),
    text("unused-bits-in-header", lambda h, p, s: f"{unused_bits(b64(to_json(header()) + b' '))}.{p}.{s}"),
    text("one-char-too-many", lambda h, p, s: f"{h}.{p}.{s}A", BadSignature),
    text("impossible-length", lambda h, p, s: f"{h}.{p}.{s}AAA"),
    ("text-too-large-though-signed", lambda: mint(claims(note="x" * 4096)), TokenTooLarge),
    ("text-megabyte", lambda: "A" * 2**20, TokenTooLarge),
]

SIGNATURES: list[Hostile] = [
    ("signature-by-attacker", lambda: mint(key=ATTACKER_KEY), BadSignature),
    text("of-another-token", lambda h, p, s: f"{h}.{p}.{mint(claims(sub='x')).split('.')[2]}", BadSignature),
    text("payload-swapped", lambda h, p, s: f"{h}.{b64(to_json(claims(sub='root')))}.{s}", BadSignature),
    text("header-swapped", lambda h, p, s: f"{b64(to_json(header(x=1)))}.{p}.{s}", BadSignature),
    text("cut", lambda h, p, s: f"{h}.{p}.{b64(b'x' * 63)}", BadSignature),
    text("lengthened", lambda h, p, s: f"{h}.{p}.{b64(bytes(65))}", BadSignature),
    text("all-zero", lambda h, p, s: f"{h}.{p}.{b64(bytes(64))}", BadSignature),
    text(
        "r-and-s-the-order",
        lambda h, p, s: f"{h}.{p}.{b64(P256_ORDER.to_bytes(32, 'big') * 2)}",
        BadSignature,
    ),
    ("signature-in-der", der_signature, BadSignature),
    ("signature-with-a-leading-zero", long_s, BadSignature),
    ("signature-hmac-of-public-pem", lambda: under_hmac(PEM), WrongAlgorithm),
    ("signature-hmac-of-public-der", lambda: under_hmac(DER), WrongAlgorithm),
    ("signature-hmac-of-nothing", lambda: under_hmac(b""), WrongAlgorithm),
    ("signature-of-other-key-in-set", lambda: mint(key=OTHER_KEY), BadSignature),
    (
        "signature-ecdsa-under-eddsa-key",
        lambda: mint(head=header(alg="EdDSA", kid=OTHER_JWK["kid"]), key=KEY),
        BadSignature,
    ),
]

HEADERS: list[Hostile] = [
    ("header-alg-none-unsigned", lambda: f"{b64(to_json(header(alg='none')))}.{b64(b'{}')}.", TokenMalformed),
    head("alg-none-signed", WrongAlgorithm, alg="none"),
    head("alg-none-mixed-case", WrongAlgorithm, alg="nOnE"),
    head("alg-missing", WrongAlgorithm, alg=DROP),
    head("alg-null", WrongAlgorithm, alg=None),
    head("alg-empty", WrongAlgorithm, alg=""),
    head("alg-lower-case", WrongAlgorithm, alg="es256"),
    head("alg-with-space", WrongAlgorithm, alg="ES256 "),
    head("alg-of-other-size", WrongAlgorithm, alg="ES384"),
    head("alg-of-other-curve", WrongAlgorithm, alg="ES256K"),
    head("alg-of-other-key", WrongAlgorithm, alg="EdDSA"),
    head("alg-rsa", WrongAlgorithm, alg="RS256"),
    head("alg-list", WrongAlgorithm, alg=["ES256"]),
    head("alg-object", WrongAlgorithm, alg={"ES256": 1}),
    head("kid-missing", UnknownKey, kid=DROP),
    head("kid-null", UnknownKey, kid=None),
    head("kid-empty", UnknownKey, kid=""),
    head("kid-number", UnknownKey, kid=0),
    head("kid-list", UnknownKey, kid=[JWK["kid"]]),
    head("kid-object", UnknownKey, kid={"kid": JWK["kid"]}),
    head("kid-unknown", UnknownKey, kid="A" * 43),
    head("kid-too-long", UnknownKey, kid="A" * 65),
    head("kid-path", UnknownKey, kid="../../../../dev/null"),
    head("kid-sql", UnknownKey, kid="' OR 1=1 --"),
    head("kid-url", UnknownKey, kid="https://attacker.example/key"),
    head("kid-with-space", UnknownKey, kid=JWK["kid"] + " "),
    head("typ-missing", WrongType, typ=DROP),
    head("typ-null", WrongType, typ=None),
    head("typ-jwt", WrongType, typ="JWT"),
    head("typ-refresh", WrongType, typ="rt+jwt"),
    head("typ-dpop-proof", WrongType, typ="dpop+jwt"),
    head("typ-logout-token", WrongType, typ="logout+jwt"),
    head("typ-introspection", WrongType, typ="token-introspection+jwt"),
    head("typ-client-assertion", WrongType, typ="client-authentication+jwt"),
    head("typ-upper-case", WrongType, typ="AT+JWT"),
    head("typ-with-space", WrongType, typ="at+jwt "),
    head("typ-other-media", WrongType, typ="text/at+jwt"),
    head("typ-list", WrongType, typ=["at+jwt"]),
    head("crit", HeaderRefused, crit=["exp"], exp=NOW_S),
    head("crit-empty", HeaderRefused, crit=[]),
    head("crit-null", HeaderRefused, crit=None),
    head("b64-false", HeaderRefused, b64=False),
    head("b64-true", HeaderRefused, b64=True),
    head("zip", HeaderRefused, zip="DEF"),
    head("enc", HeaderRefused, enc="A256GCM"),
    head("jku", HeaderRefused, jku="https://attacker.example/keys"),
    head("x5u", HeaderRefused, x5u="https://attacker.example/cert"),
    head("x5c", HeaderRefused, x5c=[standard_b64encode(DER).decode()]),
    ("header-jwk-of-attacker", lambda: mint(head=header(jwk=JWK), key=ATTACKER_KEY), HeaderRefused),
    raw_head("duplicate-alg", with_members(header(), b'"alg":"none"')),
    raw_head("duplicate-kid", with_members(header(), b'"kid":"x"')),
    raw_head("duplicate-escaped", with_members(header(), b'"\\u0061lg":"none"')),
    raw_head("duplicate-nested", with_members(header(), b'"x":{"a":1,"a":2}')),
    raw_head("utf-16", to_json(header()).decode().encode("utf-16")),
    raw_head("utf-16-no-mark", to_json(header()).decode().encode("utf-16-le")),
    raw_head("byte-order-mark", b"\xef\xbb\xbf" + to_json(header())),
    raw_head("invalid-utf-8", with_members(header(), b'"x":"\xff"')),
    raw_head("overlong-utf-8", with_members(header(), b'"x":"\xc0\xaf"')),
    raw_head("surrogate-in-utf-8", with_members(header(), b'"x":"\xed\xa0\x80"')),
    raw_head("lone-surrogate", with_members(header(), b'"x":"\\ud800"')),
    raw_head("lone-surrogate-as-name", with_members(header(), b'"\\udfff":1')),
    raw_head("control-character", with_members(header(), b'"x":"\n"')),
    raw_head("array", to_json([header()])),
    raw_head("string", b'"ES256"'),
    raw_head("null", b"null"),
    raw_head("empty-object", b"{}", UnknownKey),
    raw_head("two-objects", to_json(header()) * 2),
    raw_head("trailing-nul", to_json(header()) + b"\0"),
    raw_head("single-quotes", to_json(header()).replace(b'"', b"'")),
    raw_head("comment", b"/**/" + to_json(header())),
    raw_head("nested-too-deeply", to_json(header(x=nested(4)))),
    raw_head("nested-a-thousand", b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    raw_head("nested-without-end", b"[" * 2500),
    raw_head("nan", with_members(header(), b'"x":NaN')),
    raw_head("huge-integer", with_members(header(), b'"x":' + b"9" * 2000)),
]

PAYLOADS: list[Hostile] = [
    raw_payload("empty", b""),
    raw_payload("array", to_json([claims()])),
    raw_payload("string", b'"token"'),
    raw_payload("number", b"1"),
    raw_payload("null", b"null"),
    raw_payload("nested-token", mint().encode()),
    raw_payload("nested-token-as-string", to_json(mint())),
    raw_payload("duplicate-exp", with_members(claims(), b'"exp":%d' % (NOW_S + 900))),
    raw_payload("duplicate-sub", with_members(claims(), b'"sub":"root"')),
    raw_payload("duplicate-same-value", with_members(claims(), b'"sub":"user-1"')),
    raw_payload("duplicate-nested", with_members(claims(), b'"x":[{"a":1,"a":1}]')),
    raw_payload("utf-16", to_json(claims()).decode().encode("utf-16")),
    raw_payload("utf-32", to_json(claims()).decode().encode("utf-32")),
    raw_payload("byte-order-mark", b"\xef\xbb\xbf" + to_json(claims())),
    raw_payload("invalid-utf-8", with_members(claims(), b'"x":"\x80"')),
    raw_payload("lone-surrogate", with_members(claims(sub=DROP), b'"sub":"\\udead"')),
    raw_payload("trailing-comma", to_json(claims())[:-1] + b",}"),
    raw_payload("trailing-text", to_json(claims()) + b" x"),
    raw_payload("nan", with_members(claims(exp=DROP), b'"exp":NaN')),
    raw_payload("infinity", with_members(claims(exp=DROP), b'"exp":Infinity')),
    raw_payload("minus-infinity", with_members(claims(iat=DROP), b'"iat":-Infinity')),
    raw_payload("float-infinity", with_members(claims(exp=DROP), b'"exp":1e999')),
    raw_payload("exp-of-2000-digits", with_members(claims(exp=DROP), b'"exp":' + b"9" * 2000)),
    raw_payload("exp-beyond-2-53", to_json(claims(exp=MEGA + 1))),
    raw_payload("nested-too-deeply", to_json(claims(x=nested(4)))),
    raw_payload("nested-objects-too-deeply", to_json(claims(x={"a": {"b": {"c": {}}}}))),
    raw_payload("nested-without-end", b'{"x":' * 450),
]

CLAIMS: list[Hostile] = [
    *(
        claim(f"{name}-missing", ClaimMissing, **{name: DROP})
        for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti", "sid")
    ),
    *(
        claim(f"{name}-null", ClaimInvalid, **{name: None})
        for name in (
            "iss",
            "exp",
            "aud",
            "sub",
            "client_id",
            "iat",
            "jti",
            "sid",
            "nbf",
            "scope",
            "auth_time",
            "amr",
        )
    ),
    *(
        claim(f"{name}-empty", ClaimInvalid, **{name: ""})
        for name in ("iss", "aud", "sub", "client_id", "jti", "sid", "scope", "amr")
    ),
    *(
        claim(f"{name}-number", ClaimInvalid, **{name: 1})
        for name in ("iss", "sub", "client_id", "jti", "sid")
    ),
    *(
        claim(f"{time}-{name}", ClaimInvalid, **{time: value})
        for time in ("exp", "iat", "nbf", "auth_time")
        for name, value in [
            ("string", str(NOW_S)),
            ("float", float(NOW_S)),
            ("true", True),
            ("negative", -1),
            ("list", [NOW_S]),
        ]
    ),
    claim("iss-trailing-slash", WrongIssuer, iss=ISSUER + "/"),
    claim("iss-upper-case", WrongIssuer, iss=ISSUER.upper()),
    claim("iss-longer-host", WrongIssuer, iss=ISSUER + ".attacker.example"),
    claim("iss-plain-http", WrongIssuer, iss=ISSUER.replace("https", "http")),
    claim("iss-with-nul", WrongIssuer, iss=ISSUER + "\0"),
    claim("iss-list", ClaimInvalid, iss=[ISSUER]),
    claim("aud-empty-list", ClaimInvalid, aud=[]),
    claim("aud-object", ClaimInvalid, aud={"orders": True}),
    claim("aud-true", ClaimInvalid, aud=True),
    claim("aud-with-number", ClaimInvalid, aud=["orders", 1]),
    claim("aud-with-null", ClaimInvalid, aud=["orders", None]),
    claim("aud-with-empty", ClaimInvalid, aud=["orders", ""]),
    claim("aud-nested", ClaimInvalid, aud=[["orders"]]),
    claim("scope-list", ClaimInvalid, scope=["orders.read"]),
    claim("scope-number", ClaimInvalid, scope=1),
    claim("scope-leading-space", ClaimInvalid, scope=" orders.read"),
    claim("scope-trailing-space", ClaimInvalid, scope="orders.read "),
    claim("scope-two-spaces", ClaimInvalid, scope="orders.read  orders.write"),
    claim("scope-tab", ClaimInvalid, scope="orders.read\torders.write"),
    claim("scope-newline", ClaimInvalid, scope="orders.read\n"),
    claim("scope-quote", ClaimInvalid, scope='orders"read'),
    claim("scope-backslash", ClaimInvalid, scope="orders\\read"),
    claim("scope-non-ascii", ClaimInvalid, scope="orders.re\u0430d"),
    claim("amr-string", ClaimInvalid, amr="pwd"),
    claim("amr-of-numbers", ClaimInvalid, amr=[1]),
    claim("sub-is-the-client", ClaimInvalid, sub="web"),
    claim("sub-list", ClaimInvalid, sub=["user-1"]),
    claim("exp-before-iat", ClaimInvalid, iat=NOW_S + 5, exp=NOW_S + 4),
    claim("exp-is-iat", ClaimInvalid, iat=NOW_S, exp=NOW_S),
    claim("exp-long-ago", TokenExpired, iat=NOW_S - 7200, exp=NOW_S - 3600),
    claim("exp-at-zero-never-means-forever", ClaimInvalid, exp=0),
    claim("iat-in-the-future", TokenNotYetValid, iat=NOW_S + 60),
    claim("iat-in-milliseconds", ClaimInvalid, iat=NOW_S * 1000),
    claim("nbf-in-the-future", TokenNotYetValid, nbf=NOW_S + 60),
    claim("nbf-in-milliseconds", TokenNotYetValid, nbf=NOW_S * 1000),
]

HOSTILE = TEXTS + SIGNATURES + HEADERS + PAYLOADS + CLAIMS


@pytest.mark.parametrize(
    ("make", "refusal"), [pytest.param(make, refusal, id=name) for name, make, refusal in HOSTILE]
)
def test_hostile_token_is_refused(make: Callable[[], str], refusal: Refusal) -> None:
    """Each hostile token is refused, for its own reason and not by luck of another check."""
    token = make()

    with pytest.raises(TokenRejected) as caught:
        verify(token)

    assert type(caught.value) is refusal
    assert str(caught.value) == refusal.message


def test_hostile_list_is_long_and_distinct() -> None:
    """The list keeps at least sixty tokens, and no two share a name."""
    names = [name for name, _, _ in HOSTILE]

    assert len(set(names)) == len(names) >= 60


GOOD: list[tuple[str, Callable[[], str]]] = [
    ("plain", mint),
    ("long-type", lambda: mint(head=header(typ="application/at+jwt"))),
    ("unknown-header-member", lambda: mint(head=header(cty="x", x5t="y"))),
    ("eddsa", lambda: mint(head=header(alg="EdDSA", kid=OTHER_JWK["kid"]), key=OTHER_KEY)),
    ("audience-as-text", lambda: mint(claims(aud="orders"))),
    ("no-optional-claims", lambda: mint(claims(scope=DROP, auth_time=DROP, amr=DROP))),
    ("custom-claims", lambda: mint(claims(x=-1.5, y={"a": [1, None, True]}, z=-MEGA))),
    ("depth-of-four", lambda: mint(claims(x=nested(3)))),
    ("brackets-in-text", lambda: mint(claims(x="[[[[[{{{{{"))),
    ("escaped-emoji", lambda: mint(with_members(claims(), b'"x":"\\ud83d\\ude00"'))),
    ("white-space", lambda: mint(b" \n" + to_json(claims()) + b"\t")),
    ("exp-as-far-as-it-goes", lambda: mint(claims(exp=MEGA))),
    ("nbf-now", lambda: mint(claims(nbf=NOW_S))),
    ("as-large-as-allowed", lambda: large(4096)),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in GOOD])
def test_good_token_passes(make: Callable[[], str]) -> None:
    """What the hostile tokens are made from passes: they are refused for the attack alone."""
    token = make()

    access = verify(token)

    assert access.subject == "user-1"


def test_refusal_repeats_nothing_of_the_token() -> None:
    """No refusal carries the token's content, nor chains an error that does."""
    canary = "canary-7f3a"
    tokens = [
        mint(claims(iss=canary)),
        mint(claims(scope=f"{canary} ")),
        mint(f'{{"x":"{canary}"'.encode()),
        mint(head=header(kid=canary)),
        mint(head=header(typ=canary)),
        mint(head=header(alg=canary)),
    ]

    for token in tokens:
        with pytest.raises(TokenRejected) as caught:
            verify(token)

        assert canary not in repr(caught.value) + str(vars(caught.value))
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
