"""The access token profile at its edges, and what is asked on every call."""

from dataclasses import replace
from typing import Any

import pytest

from authsvc_client.strict import (
    Key,
    KeySet,
    MissingScope,
    TokenExpired,
    TokenNotYetValid,
    TokenRejected,
    UnknownKey,
    WrongAudience,
    require_audience,
    require_scopes,
    verify_access_token,
)
from tests.client.strict_minting import DROP, ISSUER, JWK, KEYS, NOW, NOW_S, claims, header, mint, verify

LEEWAY_MS = 15_000


def test_every_field_is_the_claim_it_names() -> None:
    """A verified token says in words what its claims say, times in milliseconds."""
    token = verify(mint(claims(plan="gold")))

    assert (token.issuer, token.subject, token.client_id) == (ISSUER, "user-1", "web")
    assert (token.token_id, token.session_id, token.key_id) == ("token-1", "session-1", JWK["kid"])
    assert token.audiences == ("orders", "billing")
    assert token.scopes == {"orders.read", "orders.write"}
    assert token.amr == ("pwd",)
    assert (token.issued_at, token.expires_at) == (NOW - 60_000, NOW + 240_000)
    assert token.authenticated_at == NOW - 3_600_000
    assert token.claims["plan"] == "gold"


def test_token_without_optional_claims_has_empty_fields() -> None:
    """An absent optional claim is None or empty, never a guess."""
    token = verify(mint(claims(scope=DROP, auth_time=DROP, amr=DROP, aud="orders")))

    assert (token.scopes, token.authenticated_at, token.amr) == (frozenset(), None, ())
    assert token.audiences == ("orders",)


def test_verified_token_cannot_be_changed() -> None:
    """What was verified stays what was verified."""
    token: Any = verify(mint())

    with pytest.raises(AttributeError):
        token.subject = "root"
    with pytest.raises(TypeError):
        token.claims["sub"] = "root"


def test_repr_shows_no_custom_claim() -> None:
    """A token that ends up in a log shows no claim that others chose to put in."""
    token = verify(mint(claims(note="canary-7f3a")))

    assert "canary" not in repr(token)


@pytest.mark.parametrize(
    ("now", "refusal"),
    [
        (NOW + LEEWAY_MS - 1000, None),
        (NOW + LEEWAY_MS - 1, None),
        (NOW + LEEWAY_MS, TokenExpired),
        (NOW + LEEWAY_MS + 1000, TokenExpired),
    ],
)
def test_exp_is_the_first_moment_too_late(now: int, refusal: type[TokenRejected] | None) -> None:
    """A token passes strictly before `exp` plus leeway."""
    token = mint(claims(exp=NOW_S))

    assert outcome(token, now) is refusal


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(
    ("now", "refusal"),
    [
        (NOW - LEEWAY_MS - 1000, TokenNotYetValid),
        (NOW - LEEWAY_MS - 1, TokenNotYetValid),
        (NOW - LEEWAY_MS, None),
        (NOW - LEEWAY_MS + 1000, None),
    ],
)
def test_nbf_and_iat_are_the_first_moment_good(
    claim: str, now: int, refusal: type[TokenRejected] | None
) -> None:
    """A token passes from `nbf` and `iat` on, less leeway."""
    token = mint(claims(**{claim: NOW_S}))

    assert outcome(token, now) is refusal


def outcome(token: str, now: int) -> type[TokenRejected] | None:
    try:
        verify(token, now=now)
    except TokenRejected as refusal:
        return type(refusal)
    return None


def test_leeway_is_the_callers() -> None:
    """Without leeway, a token is dead at its `exp`."""
    token = mint(claims(exp=NOW_S))

    with pytest.raises(TokenExpired):
        verify_access_token(token, KEYS, issuer=ISSUER, now=NOW, leeway_ms=0)


def test_empty_issuer_is_a_mistake() -> None:
    """A verifier without an issuer does not start, and never matches an empty `iss`."""
    with pytest.raises(ValueError, match="issuer"):
        verify_access_token(mint(claims(iss="")), KEYS, issuer="", now=NOW)


def test_key_that_left_the_set_verifies_nothing() -> None:
    """A tainted key is simply not in the set, and its tokens are refused."""
    with pytest.raises(UnknownKey):
        verify(mint(), KeySet(key for key in KEYS if key.key_id != JWK["kid"]))


def test_long_kid_is_not_even_looked_up() -> None:
    """A `kid` beyond 64 characters is unknown, whatever a key set may hold."""
    long = "k" * 65
    keys = KeySet([replace(Key.from_jwk(JWK), key_id=long)])

    with pytest.raises(UnknownKey):
        verify(mint(head=header(kid=long)), keys)


@pytest.mark.parametrize("audience", ["order", "orders ", "Orders", "orders,billing", "", "*", ISSUER])
def test_audience_is_compared_exactly(audience: str) -> None:
    """Nothing but one of the token's own audiences will do."""
    with pytest.raises(WrongAudience):
        require_audience(verify(mint()), audience)


@pytest.mark.parametrize("audience", ["orders", "billing"])
def test_any_of_the_audiences_will_do(audience: str) -> None:
    """A token for several audiences passes at each of them."""
    require_audience(verify(mint()), audience)


@pytest.mark.parametrize(
    "scopes", [{"orders"}, {"orders.read", "admin"}, {"ORDERS.READ"}, {""}, {"orders.read "}]
)
def test_every_scope_is_needed(scopes: set[str]) -> None:
    """One missing scope refuses the call; prefixes and other cases do not count."""
    with pytest.raises(MissingScope):
        require_scopes(verify(mint()), scopes)


@pytest.mark.parametrize("scopes", [set(), {"orders.read"}, ("orders.write", "orders.read")])
def test_more_scopes_than_needed_pass(scopes: set[str]) -> None:
    """A call asks for some of the token's scopes, or for none."""
    require_scopes(verify(mint()), scopes)


def test_scopes_as_one_text_are_a_mistake() -> None:
    """A text is a collection of its letters: it is refused, rather than read so."""
    with pytest.raises(TypeError):
        require_scopes(verify(mint()), "")
