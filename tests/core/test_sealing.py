"""Values sealed for whom, and for where, they belong."""

import os

import pytest

from authsvc.core.sealing import CannotUnseal, Vault, seal_successor, unseal_successor
from authsvc.core.secrets import DeploymentSecrets
from authsvc.core.tokens import RefreshToken, TokenMint

SECRETS = DeploymentSecrets([b"s" * 32])
IDS = ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058")


def presented(session_id: str = IDS[0], generation: int = 3) -> RefreshToken:
    """A refresh token as read."""
    mint = TokenMint(SECRETS, os.urandom)
    return mint.read_refresh(mint.refresh_token(session_id, generation).text)


def test_holder_opens() -> None:
    """The predecessor's holder opens the successor, from the token alone."""
    token = presented()

    sealed = seal_successor(token, "the successor", os.urandom)

    assert unseal_successor(token, sealed) == "the successor"
    assert b"successor" not in sealed


def test_nobody_else_opens() -> None:
    """No other token opens it: another secret, session or generation."""
    token = presented()
    sealed = seal_successor(token, "the successor", os.urandom)
    others = [
        presented(),
        RefreshToken(IDS[1], token.generation, token.secret, token.token_hash),
        RefreshToken(token.session_id, token.generation + 1, token.secret, token.token_hash),
    ]

    for other in others:
        with pytest.raises(CannotUnseal):
            unseal_successor(other, sealed)


@pytest.mark.parametrize("spoilt", [b"", b"x", b"\0" * 40])
def test_spoilt(spoilt: bytes) -> None:
    """What was not sealed here does not open, and does not fail in another way."""
    with pytest.raises(CannotUnseal):
        unseal_successor(presented(), spoilt)
    with pytest.raises(CannotUnseal):
        Vault(SECRETS, "keys", os.urandom).unseal(spoilt, "place")


def test_same_value_never_looks_the_same() -> None:
    """Sealing twice gives two texts."""
    token = presented()

    assert seal_successor(token, "x", os.urandom) != seal_successor(token, "x", os.urandom)


def test_vault() -> None:
    """A vault opens what it sealed for a place, there and nowhere else, for its purpose and no other."""
    vault, other_purpose = (Vault(SECRETS, purpose, os.urandom) for purpose in ("keys", "other"))
    sealed = vault.seal(b"a private key", "place")

    assert vault.unseal(sealed, "place") == b"a private key"
    with pytest.raises(CannotUnseal):
        vault.unseal(sealed, "elsewhere")
    with pytest.raises(CannotUnseal):
        other_purpose.unseal(sealed, "place")


def test_vault_after_a_new_secret() -> None:
    """A vault opens what was sealed under a secret that is still listed, and nothing once it is gone."""
    sealed = Vault(SECRETS, "keys", os.urandom).seal(b"a private key", "place")
    both, new = (DeploymentSecrets(list_) for list_ in ([b"n" * 32, b"s" * 32], [b"n" * 32]))

    assert Vault(both, "keys", os.urandom).unseal(sealed, "place") == b"a private key"
    with pytest.raises(CannotUnseal):
        Vault(new, "keys", os.urandom).unseal(sealed, "place")
