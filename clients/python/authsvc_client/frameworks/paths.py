"""Owns which rule a path falls under. Leaves the rules themselves to `authsvc_client.guarding.policy`."""

from collections.abc import Mapping

from authsvc_client.guarding.policy import PolicyMistaken, Rule, authenticated


class PathRules:
    """Rules by path prefix, cut at slashes: `/orders` covers `/orders` and `/orders/1`, never `/orders-old`.

    The longest one counts, and none means no. Without any, every path needs a good token.
    """

    def __init__(self, rules: Mapping[str, Rule] | None = None) -> None:
        """Raises PolicyMistaken for what is no path."""
        given = {"/": authenticated()} if rules is None else rules
        self._rules = {_prefix(path): rule for path, rule in given.items()}
        if len(self._rules) < len(given):
            raise PolicyMistaken("a path has two rules")

    def get(self, path: str) -> Rule | None:
        """The rule for a decoded path. None: nobody may ask for it.

        A path that could mean another one once it is resolved (`..`, an empty part) falls under none.
        """
        parts = path.split("/")
        if not path.startswith("/") or ".." in parts or "." in parts or "" in parts[1:-1] or "\\" in path:
            return None
        prefix = path.rstrip("/")
        while True:
            rule = self._rules.get(prefix)
            if rule is not None or not prefix:
                return rule
            prefix = prefix.rpartition("/")[0]


def _prefix(path: str) -> str:
    if not path.startswith("/") or "*" in path:
        raise PolicyMistaken(f"a path begins with a slash and covers all below it, so not {path!r}")
    return path.rstrip("/")
