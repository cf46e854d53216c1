"""The memory of verified tokens: what it may answer, and what it must ask again."""

from dataclasses import replace

import pytest

from authsvc_client.strict import (
    BadSignature,
    Key,
    KeySet,
    TokenExpired,
    TokenNotYetValid,
    TokenRejected,
    UnknownKey,
    VerifiedTokens,
)
from tests.client.strict_minting import (
    ATTACKER_KEY,
    ISSUER,
    JWK,
    KEY,
    KEYS,
    NOW,
    NOW_S,
    OTHER_JWK,
    OTHER_KEY,
    claims,
    header,
    mint,
)


class CountingKey:
    """Counts how often a signature was checked; each `keys` is a set as newly fetched, with a new key."""

    def __init__(self) -> None:
        self.checks = 0
        self._real = Key.from_jwk(JWK)

    @property
    def keys(self) -> KeySet:
        return KeySet([replace(self._real, check=self._check)])

    def _check(self, signature: bytes, signed: bytes) -> None:
        self.checks += 1
        self._real.check(signature, signed)


def test_same_text_is_verified_once() -> None:
    """A token that passed passes again without its signature being checked, as the same object."""
    counting, verified, token = CountingKey(), VerifiedTokens(ISSUER), mint()

    first = verified.verify(token, counting.keys, now=NOW)
    second = verified.verify(str(token.encode(), "ascii"), counting.keys, now=NOW + 1000)

    assert second is first
    assert counting.checks == 1


def test_key_set_fetched_again_keeps_what_was_verified() -> None:
    """An equal key in a new set is the same key: refreshing the set costs no verification."""
    counting, verified, token = CountingKey(), VerifiedTokens(ISSUER), mint()
    first, second = counting.keys, counting.keys
    verified.verify(token, first, now=NOW)

    verified.verify(token, second, now=NOW)

    assert counting.checks == 1


def test_refused_token_is_not_remembered() -> None:
    """A forgery leaves no trace, so a flood of them pushes nothing out."""
    verified = VerifiedTokens(ISSUER)

    for _ in range(3):
        with pytest.raises(BadSignature):
            verified.verify(mint(key=ATTACKER_KEY), KEYS, now=NOW)

    assert len(verified) == 0


@pytest.mark.parametrize(
    ("now", "passes"),
    [(NOW - 1, True), (NOW, True), (NOW + 14_999, True), (NOW + 15_000, False), (NOW + 99_000, False)],
)
def test_remembered_token_expires_as_a_new_one_does(now: int, passes: bool) -> None:
    """Memory changes no verdict: a remembered token passes exactly as long as it would unremembered."""
    verified, token = VerifiedTokens(ISSUER), mint(claims(exp=NOW_S))
    verified.verify(token, KEYS, now=NOW - 30_000)

    remembered = attempt(verified, token, now)

    assert remembered is attempt(VerifiedTokens(ISSUER), token, now) is passes


def attempt(verified: VerifiedTokens, token: str, now: int) -> bool:
    try:
        verified.verify(token, KEYS, now=now)
    except TokenExpired:
        return False
    return True


def test_expired_entry_is_forgotten() -> None:
    """After `exp` nothing is served from memory, not even within the leeway, and the entry is gone."""
    counting, verified, token = CountingKey(), VerifiedTokens(ISSUER), mint(claims(exp=NOW_S))
    verified.verify(token, counting.keys, now=NOW - 1)

    verified.verify(token, counting.keys, now=NOW)

    assert counting.checks == 2
    assert len(verified) == 0


def test_key_that_left_the_set_takes_its_tokens_with_it() -> None:
    """Once a kid disappears its remembered tokens no longer pass; those of other keys still do."""
    verified = VerifiedTokens(ISSUER)
    of_gone, of_kept = mint(), mint(head=header(alg="EdDSA", kid=OTHER_JWK["kid"]), key=OTHER_KEY)
    for token in (of_gone, of_kept):
        verified.verify(token, KEYS, now=NOW)
    without = KeySet(key for key in KEYS if key.key_id != JWK["kid"])

    verified.verify(of_kept, without, now=NOW)

    with pytest.raises(UnknownKey):
        verified.verify(of_gone, without, now=NOW)


def test_other_key_under_the_same_kid_vouches_for_nothing() -> None:
    """A kid that now names another key does not keep the tokens of the first one alive."""
    verified, token = VerifiedTokens(ISSUER), mint()
    verified.verify(token, KEYS, now=NOW)
    replaced = KeySet([replace(Key.from_jwk(OTHER_JWK), key_id=JWK["kid"])])

    with pytest.raises(TokenRejected):
        verified.verify(token, replaced, now=NOW)


@pytest.mark.parametrize("limit", [2, 3, 10])
def test_memory_is_bounded(limit: int) -> None:
    """However many tokens pass, no more than the limit are held."""
    verified = VerifiedTokens(ISSUER, limit=limit)

    for n in range(limit * 3):
        verified.verify(mint(claims(jti=f"token-{n}")), KEYS, now=NOW)

        assert len(verified) <= limit


def test_token_in_use_outlives_the_flood() -> None:
    """What is asked for again and again stays remembered while others come and go."""
    counting, verified, favourite = CountingKey(), VerifiedTokens(ISSUER, limit=10), mint()
    others = [mint(claims(jti=f"token-{n}")) for n in range(40)]

    for other in others:
        verified.verify(favourite, counting.keys, now=NOW)
        verified.verify(other, counting.keys, now=NOW)

    assert counting.checks == 1 + len(others)


def test_leeway_is_the_callers() -> None:
    """The leeway given applies to the full check."""
    verified = VerifiedTokens(ISSUER, leeway_ms=0)

    with pytest.raises(TokenNotYetValid):
        verified.verify(mint(claims(nbf=NOW_S + 1)), KEYS, now=NOW)


def test_clear_forgets_everything() -> None:
    """After clearing, the next check is a full one."""
    counting, verified, token = CountingKey(), VerifiedTokens(ISSUER), mint()
    verified.verify(token, counting.keys, now=NOW)

    verified.clear()

    verified.verify(token, counting.keys, now=NOW)
    assert counting.checks == 2


@pytest.mark.parametrize(("issuer", "limit"), [("", 10), (ISSUER, 1), (ISSUER, 0), (ISSUER, -5)])
def test_senseless_settings_do_not_start(issuer: str, limit: int) -> None:
    """A missing issuer or a limit that cannot bound anything refuses to start."""
    with pytest.raises(ValueError, match=r"required|at least"):
        VerifiedTokens(issuer, limit=limit)


def test_memory_is_by_issuer() -> None:
    """Each memory verifies for its own issuer, so that one never answers for another."""
    with pytest.raises(TokenRejected):
        VerifiedTokens("https://other.example").verify(mint(key=KEY), KEYS, now=NOW)
