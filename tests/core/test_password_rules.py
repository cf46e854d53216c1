"""What a new password must be."""

import pytest

from authsvc.core.errors import PasswordTooWeak
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import normalised

RULES = PasswordRules()


@pytest.mark.parametrize(
    "password",
    [
        "fifteen chars!!",
        "a" * 5 + "b" * 5 + "c" * 5,
        "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u4e07\u4ebf\u5146",
        "only lower case letters and spaces",
        "x7" * 7 + "unlike" * 10 + "pass",
        "\0 control characters are fine",
        "the quick brown fox " * 51,
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
