"""Tokens minted for tests pass where real ones would, and fail where real ones would."""

import json
from typing import Any

import pytest

from authsvc_client import KeySet, Verifier, verify_access_token
from authsvc_client.strict import TokenExpired, TokenRejected, TokenRevoked, UnknownKey, WrongAudience
from authsvc_client.testing import MovableClock, TokenMinter


def test_a_minted_token_says_what_was_asked(authsvc_minter: TokenMinter, authsvc_verifier: Verifier) -> None:
    """User, scopes, session and client are as asked; what was not asked is new each time."""
    text = authsvc_minter.mint("user-1", scopes=["a", "b"], session_id="session-1", client_id="web")

    token = authsvc_verifier.verify(text)

    assert (token.subject, token.session_id, token.client_id) == ("user-1", "session-1", "web")
    assert token.scopes == {"a", "b"}
    others = [authsvc_verifier.verify(authsvc_minter.mint()) for _ in range(2)]
    assert len({each.subject for each in others} | {each.session_id for each in others}) == 4


def test_a_minted_token_lives_as_long_as_asked(
    authsvc_minter: TokenMinter, authsvc_verifier: Verifier, authsvc_clock: MovableClock
) -> None:
    """A token ends `ttl_ms` after it was minted, leeway on top; a negative one is expired from the start."""
    authsvc_clock.stop(1_800_000_000_000)
    text = authsvc_minter.mint(ttl_ms=60_000)
    authsvc_clock.move(60_000 + 14_999)
    authsvc_verifier.verify(text)
    authsvc_clock.move(1)

    for expired in (text, authsvc_minter.mint(ttl_ms=-15_000)):
        with pytest.raises(TokenExpired):
            authsvc_verifier.verify(expired)


def test_audiences_are_compared(authsvc_minter: TokenMinter) -> None:
    """A token for other audiences is refused; a verifier for one of them takes it."""
    text = authsvc_minter.mint(audiences=["billing", "mail"])

    with pytest.raises(WrongAudience):
        authsvc_minter.verifier().verify(text)
    assert authsvc_minter.verifier("mail").verify(text).audiences == ("billing", "mail")


@pytest.mark.parametrize("how", ["token", "session", "user", "key"])
def test_what_is_revoked_is_refused(
    authsvc_minter: TokenMinter, authsvc_verifier: Verifier, how: str
) -> None:
    """A token is refused once it, its session, its user or its key is revoked; another one is not."""
    text = authsvc_minter.mint("user-1", session_id="session-1")
    authsvc_verifier.verify(text)
    revoke: dict[str, Any] = {
        "token": lambda: authsvc_minter.revoke(text),
        "session": lambda: authsvc_minter.revoke_session("session-1"),
        "user": lambda: authsvc_minter.revoke_user("user-1"),
        "key": authsvc_minter.taint_key,
    }

    revoke[how]()

    with pytest.raises(TokenRevoked):
        authsvc_verifier.verify(text)
    authsvc_verifier.use_keys(authsvc_minter.keys)
    assert authsvc_verifier.verify(authsvc_minter.mint("user-2")).subject == "user-2"


def test_another_minters_token_is_unknown(authsvc_verifier: Verifier) -> None:
    """A token is good only for verifiers of the minter that made it."""
    with pytest.raises(UnknownKey):
        authsvc_verifier.verify(TokenMinter().mint())


def test_claims_can_be_hostile(authsvc_minter: TokenMinter, authsvc_verifier: Verifier) -> None:
    """`claims` go into the token whatever they are, so that refusals can be tested too."""
    with pytest.raises(TokenRejected):
        authsvc_verifier.verify(authsvc_minter.mint(claims={"iss": "https://evil.example"}))


def test_the_key_set_is_a_document(authsvc_minter: TokenMinter, authsvc_clock: MovableClock) -> None:
    """`jwks` is what a service that reads a JWK Set document would get, without any private member."""
    keys = KeySet.from_jwks(authsvc_minter.jwks)

    token = verify_access_token(
        authsvc_minter.mint(), keys, issuer=authsvc_minter.issuer, now=authsvc_clock()
    )

    assert token.audiences == ("orders",)
    assert "d" not in json.loads(authsvc_minter.jwks)["keys"][0]


def test_the_view_grows_old_only_when_told(authsvc_minter: TokenMinter) -> None:
    """The view counts as fresh however slow the test is, until touch is lost, and again when it is regained."""
    ages = [authsvc_minter.revocations.age_ms()]
    authsvc_minter.lose_touch(6_000)
    authsvc_minter.revoke_user("user-1")
    ages.append(authsvc_minter.revocations.age_ms())
    authsvc_minter.regain_touch()
    ages.append(authsvc_minter.revocations.age_ms())

    assert ages == [0, 6_000, 0]
