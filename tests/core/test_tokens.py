"""The texts of opaque tokens."""

import base64
import os
import re

import pytest

from authsvc.core.secrets import DeploymentSecrets, SecretsUnusable
from authsvc.core.tokens import Kind, Minted, TokenMint, TokenNotOurs, kind_of

SECRET, OTHER = b"s" * 32, b"o" * 32
SESSION_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def mint() -> TokenMint:
    """A mint under one secret."""
    return TokenMint(DeploymentSecrets([SECRET]), os.urandom)


def one_of_each(mint: TokenMint) -> dict[Kind, Minted]:
    """A token of every kind."""
    return {
        Kind.SESSION: mint.session_token(),
        Kind.CLIENT_KEY: mint.client_key(),
        Kind.REFRESH: mint.refresh_token(SESSION_ID, 7),
    }


def test_each_kind_has_its_prefix(mint: TokenMint) -> None:
    """Each token starts with the prefix of its kind and is plain URL-safe text after it."""
    for kind, token in one_of_each(mint).items():
        assert re.fullmatch(kind.prefix + "[A-Za-z0-9_-]+", token.text)
        assert kind_of(token.text) is kind
        assert mint.hash_of(kind, token.text) == token.token_hash


def test_carries_256_random_bits(mint: TokenMint) -> None:
    """All of a token but its place and MAC is random: 32 bytes of it."""
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    one_of_each(TokenMint(DeploymentSecrets([SECRET]), counted))

    assert asked == [32, 32, 32]
    assert len({mint.session_token().text for _ in range(100)}) == 100


def test_kinds_are_not_exchangeable(mint: TokenMint) -> None:
    """A token under another kind's prefix is not that kind's."""
    for kind, token in one_of_each(mint).items():
        for other in Kind:
            if other is not kind:
                with pytest.raises(TokenNotOurs):
                    mint.hash_of(other, token.text)
                with pytest.raises(TokenNotOurs):
                    mint.hash_of(other, other.prefix + token.text[4:])


def test_every_bit_counts(mint: TokenMint) -> None:
    """A token with any one bit turned over is none of ours."""
    for kind, token in one_of_each(mint).items():
        body = base64.urlsafe_b64decode(token.text[4:])
        for bit in range(len(body) * 8):
            turned = bytearray(body)
            turned[bit // 8] ^= 1 << bit % 8
            with pytest.raises(TokenNotOurs):
                mint.hash_of(kind, kind.prefix + base64.urlsafe_b64encode(turned).decode())


def test_one_spelling(mint: TokenMint) -> None:
    """Each token has one spelling: no padding, no other alphabet, no white space."""
    for kind, token in one_of_each(mint).items():
        text = token.text
        while "-" not in text[4:] or "_" not in text[4:]:
            text = {Kind.SESSION: mint.session_token, Kind.CLIENT_KEY: mint.client_key}.get(
                kind, lambda: mint.refresh_token(SESSION_ID, 7)
            )().text
        body = text[4:]
        others = [
            body.replace("-", "+"), body.replace("_", "/"), body + "=", body + "==", body + "\n", " " + body, body[:-1],
            body[:20] + "\n" + body[21:], body[:20] + "\n" + body[20:], body[:-1] + "\u00e9", body[:-1] + "\0",
            body[:-1] + "\uff21", "", body + body,
        ]  # fmt: skip
        for spelling in others:
            with pytest.raises(TokenNotOurs):
                mint.hash_of(kind, kind.prefix + spelling)


def test_other_deployment(mint: TokenMint) -> None:
    """What another secret made is none of ours."""
    other = TokenMint(DeploymentSecrets([OTHER]), os.urandom)

    for kind, token in one_of_each(other).items():
        with pytest.raises(TokenNotOurs):
            mint.hash_of(kind, token.text)


def test_secrets_are_replaced_one_by_one() -> None:
    """The first secret makes new tokens, the others still open theirs."""
    before = TokenMint(DeploymentSecrets([SECRET]), os.urandom)
    both = TokenMint(DeploymentSecrets([OTHER, SECRET]), os.urandom)
    after = TokenMint(DeploymentSecrets([OTHER]), os.urandom)
    old, new = before.session_token(), both.session_token()

    assert both.hash_of(Kind.SESSION, old.text) == old.token_hash
    assert after.hash_of(Kind.SESSION, new.text) == new.token_hash
    with pytest.raises(TokenNotOurs):
        after.hash_of(Kind.SESSION, old.text)


@pytest.mark.parametrize("generation", [0, 1, 255, 256, 2**40 - 1])
def test_refresh_token_says_its_place(mint: TokenMint, generation: int) -> None:
    """A refresh token says whose it is and which generation, so that an old one is known for one for ever."""
    token = mint.refresh_token(SESSION_ID, generation)

    read = mint.read_refresh(token.text)

    assert (read.session_id, read.generation, read.token_hash) == (SESSION_ID, generation, token.token_hash)
    assert len(read.secret) == 32


@pytest.mark.parametrize("secrets", [[], [b"short"], [SECRET, b"x" * 31], [SECRET, SECRET]])
def test_unusable_secrets(secrets: list[bytes]) -> None:
    """No secret, a short one or the same twice is refused, in words that show none of it."""
    with pytest.raises(SecretsUnusable) as refused:
        DeploymentSecrets(secrets)

    assert not any(secret.decode() in str(refused.value) for secret in secrets)


def test_each_purpose_has_its_own_key() -> None:
    """No key derived from a secret serves two purposes."""
    secrets = DeploymentSecrets([SECRET])

    keys = [
        key for purpose in ("token mac", "signing keys", "other") for key in secrets.derive(purpose).values()
    ]

    assert len(set(keys)) == 3
    assert all(len(key) == 32 for key in keys)
