"""What a new password must be."""

import pytest

from authsvc.core.errors import PasswordTooWeak
from authsvc.core.password_rules import PasswordRules, words_of_issuer
from authsvc.core.passwords import normalised

RULES = PasswordRules(own_words=words_of_issuer("auth.example.com"))


@pytest.mark.parametrize(
    "password",
    [
        "fifteen chars!!",
        "a" * 5 + "b" * 5 + "c" * 5,
        "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u4e07\u4ebf\u5146",
        "only lower case letters and spaces",
        "x7" * 7 + "unlike" * 10 + "pass",
        "\0 control characters are fine",
        "the quick brown fox jumps over the lazy dog",
        "the quick brown fox " * 51,
        "84623907515049928371",
        "f3a-91c-77e-d04-b2",
        "dragon monkey piano lighthouse",
        "examplary behaviour",
        "password to my heart's garden",
    ],
)
def test_good_passwords(password: str) -> None:
    """Fifteen code points of anything will do: no composition rules, 64 and more allowed (800-63B-4 §3.1.1.2)."""
    RULES.check(password, "alice")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "fourteen chars",
        "e\u0301" * 14,
        "a" * 1025,
        "\u00e9" * 513,
        "passwordpassword",
        "PasswordPassword",
        "aaaaaaaaaaaaaaaaaaaa",
        "ababababababababab",
        "abcdeabcdeabcdeabcde",
        "alexandrina-maria",
        "ALEXANDRINA-maria 123456",
        "alexandrina-mariaalexandrina-maria",
        "alexandrina2019!!!",
        "example.com-example.com",
        "example-password-2024",
        "Password123456789",
        "P@ssw0rdP@ssw0rd",
        "iloveyouforever99",
        "dragon-monkey-1987-12",
        "111122223333444",
        "123456789123456789",
        "qwertyuiopasdfgh",
        "abcdefghijklmnop",
        "correct horse battery staple",
        "The Quick Brown Fox",
    ],
)
def test_weak_passwords(password: str) -> None:
    """Too short, too long, often chosen, repeated, or the username: refused with the rule, not with what was typed."""
    with pytest.raises(PasswordTooWeak) as refused:
        RULES.check(password, "Alexandrina-Maria")

    assert refused.value.rule
    assert not password or password not in refused.value.rule


def test_length_counts_after_composing() -> None:
    """A letter and its accent count as the one character that they are."""
    assert len(normalised("e\u0301" * 15)) == 15
    RULES.check("e\u0301tonnamment long", "")
