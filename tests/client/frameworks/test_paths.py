"""Which rule a path falls under."""

import pytest

from authsvc_client import PolicyMistaken, authenticated, public, scopes
from authsvc_client.frameworks.paths import PathRules

RULES = PathRules({"/": authenticated(), "/orders": scopes("orders.read"), "/orders/open/": public()})


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/", authenticated()),
        ("/other", authenticated()),
        ("/orders", scopes("orders.read")),
        ("/orders/", scopes("orders.read")),
        ("/orders/1/lines", scopes("orders.read")),
        ("/orders-old", authenticated()),
        ("/orders/open", public()),
        ("/orders/open/1", public()),
        ("/orders/opener", scopes("orders.read")),
    ],
)
def test_the_longest_prefix_counts(path: str, rule: object) -> None:
    """A path falls under the longest rule that ends where one of its parts does."""
    found = RULES.get(path)

    assert found == rule


@pytest.mark.parametrize(
    "path",
    ["", "orders", "/orders/open/../1", "/./orders", "//orders", "/a//b", "/orders\\..", "/orders/open/.."],
)
def test_an_ambiguous_path_has_no_rule(path: str) -> None:
    """A path that a framework might resolve to another one falls under no rule, so nobody is let in."""
    found = RULES.get(path)

    assert found is None


def test_without_rules_every_path_needs_a_token() -> None:
    """Whoever gives no rules gets the safe one; whoever gives rules without `/` leaves the rest closed."""
    assert PathRules().get("/anything") == authenticated()
    assert PathRules({"/orders": public()}).get("/anything") is None


@pytest.mark.parametrize("path", ["orders", "/orders/*", ""])
def test_what_is_no_path_is_a_mistake(path: str) -> None:
    """A rule that could never count is refused at start."""
    with pytest.raises(PolicyMistaken):
        PathRules({path: public()})


def test_a_path_has_one_rule() -> None:
    """Two spellings of one path are a mistake."""
    with pytest.raises(PolicyMistaken):
        PathRules({"/orders": public(), "/orders/": authenticated()})
