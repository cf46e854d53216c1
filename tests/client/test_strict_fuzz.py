"""Any input at all: only a refusal comes back, and it comes back soon."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc_client.strict import AccessToken, KeySet, KeySetRefused, TokenRejected
from tests.client.strict_minting import ISSUER, JWK, NOW_S, b64, claims, header, mint, to_json, verify

CALM = settings(max_examples=300, deadline=None)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["at+jwt", "ES256", ISSUER, NOW_S, JWK["kid"]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip", "jwk", "x", ""])
CLAIM_NAMES = st.sampled_from([*claims(), "nbf", "x", ""])


def outcome(token: str) -> AccessToken | TokenRejected:
    """The token or the refusal; any other exception is the failure that these tests look for."""
    try:
        return verify(token)
    except TokenRejected as refusal:
        return refusal


@CALM
@given(st.text(max_size=5000))
def test_any_text_is_refused(text: str) -> None:
    """No text that we did not sign passes, and none raises anything but a refusal."""
    assert isinstance(outcome(text), TokenRejected)


@CALM
@given(st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,90}", fullmatch=True))
def test_any_three_parts_are_refused(text: str) -> None:
    """The right alphabet and number of dots alone get nowhere."""
    assert isinstance(outcome(text), TokenRejected)


@CALM
@given(st.binary(max_size=600), st.binary(max_size=600))
def test_any_bytes_inside_are_refused(head: bytes, payload: bytes) -> None:
    """Arbitrary bytes as header or payload, correctly signed, are refused."""
    assert isinstance(outcome(mint(payload, head)), TokenRejected)
    assert isinstance(outcome(mint(payload)), TokenRejected)


@CALM
@given(st.dictionaries(HEADER_NAMES, JSON, max_size=3), st.dictionaries(CLAIM_NAMES, JSON, max_size=3))
def test_any_members_give_a_token_or_a_refusal(head: dict[str, Any], payload: dict[str, Any]) -> None:
    """Whatever JSON a member holds, a verified token is whole and typed, or there is none."""
    result = outcome(mint(to_json(claims(**payload)), to_json(header(**head))))

    if isinstance(result, AccessToken):
        assert all(type(text) is str for text in (result.subject, result.token_id, *result.audiences))
        assert type(result.expires_at) is int
        assert result.issuer == ISSUER


@CALM
@given(st.data())
def test_any_change_of_a_good_token_is_refused(data: st.DataObject) -> None:
    """No single changed, added or removed character leaves a token that passes."""
    token = mint()
    at = data.draw(st.integers(0, len(token) - 1))
    replacement = data.draw(st.text(max_size=2).filter(lambda text: text != token[at]))

    changed = token[:at] + replacement + token[at + 1 :]

    assert isinstance(outcome(changed), TokenRejected)


@CALM
@given(st.binary(max_size=300) | JSON.map(to_json) | st.lists(JSON).map(lambda keys: to_json({"keys": keys})))
def test_any_key_set_document_is_read_or_refused(document: bytes) -> None:
    """A key set document gives keys or a refusal, and arbitrary ones give no keys."""
    try:
        keys = KeySet.from_jwks(document)
    except KeySetRefused:
        return

    assert len(keys) == 0


def unsigned(head: bytes) -> Callable[[], str]:
    return lambda: f"{b64(head)}.{b64(b'{}')}.{b64(bytes(64))}"


def signed(payload: bytes) -> Callable[[], str]:
    return lambda: mint(payload)


def filled(piece: bytes, room: int = 2400) -> bytes:
    """As many pieces as fit into a token of 4 KiB with its header and signature."""
    return piece * (room // len(piece))


MANY_MEMBERS = b"{" + b",".join(b'"%x":0' % n for n in range(300)) + b"}"

SLOW = {
    "largest-text": lambda: "A" * 4096,
    "only-dots": lambda: "." * 4096,
    "almost-three-parts": lambda: "A" * 2000 + "." + "A" * 2000 + "." + "\u0430",
    "beyond-the-cap": lambda: "A" * 2**16,
    "header-arrays": unsigned(filled(b"[")),
    "header-objects": unsigned(filled(b'{"":')),
    "header-closed-arrays": unsigned(b'{"a":' + filled(b"[", 1200) + filled(b"]", 1200) + b"}"),
    "header-digits": unsigned(b'{"a":' + filled(b"9") + b"}"),
    "header-fraction": unsigned(b'{"a":0.' + filled(b"9") + b"}"),
    "header-exponent": unsigned(b'{"a":1e' + filled(b"9") + b"}"),
    "header-numbers": unsigned(b'{"a":[' + filled(b"1,") + b"1]}"),
    "header-fractions": unsigned(b'{"a":[' + filled(b"1e9,") + b"1]}"),
    "header-members": unsigned(MANY_MEMBERS),
    "header-pairs": unsigned(b'{"a":[' + filled(b"[],") + b"[]]}"),
    "header-escapes": unsigned(b'{"a":"' + filled(b"\\u0041") + b'"}'),
    "header-surrogates": unsigned(b'{"a":"' + filled(b"\\ud83d\\ude00") + b'"}'),
    "header-quotes": unsigned(b'{"a":"' + filled(b'\\"')),
    "header-spaces": unsigned(filled(b" ") + b"x"),
    "payload-arrays": signed(filled(b"[")),
    "payload-digits": signed(b'{"exp":' + filled(b"9") + b"}"),
    "payload-numbers": signed(b'{"a":[' + filled(b"1,") + b"1]}"),
    "payload-members": signed(MANY_MEMBERS),
    "payload-scopes": signed(to_json(claims(scope="a " * 1000 + '"'))),
    "payload-audiences": signed(to_json(claims(aud=["a"] * 500 + [1]))),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in SLOW.items()])
def test_worst_inputs_are_refused_within_a_millisecond(make: Callable[[], str]) -> None:
    """The costliest inputs we know are refused in a millisecond of CPU, signature check included."""
    token = make()

    assert isinstance(outcome(token), TokenRejected)
    assert min(cpu_ms(token) for _ in range(25)) <= 1.0


def cpu_ms(token: str) -> float:
    """CPU time of this thread alone, so that a busy machine does not count."""
    started_at = time.thread_time_ns()
    outcome(token)
    return (time.thread_time_ns() - started_at) / 1e6
