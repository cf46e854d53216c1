"""Owns what a trace is to those who take part in it: spans with a name, within one another. Leaves collecting them to
`authsvc.app.tracing`.

Names and attributes are fixed words and ids: never a token, a password, or anything else that a caller sent.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Span(Protocol):
    """Something under way."""

    def note(self, attributes: Mapping[str, str | int]) -> None:
        """Say more about it."""

    def fail(self, why: str) -> None:
        """Say that it went wrong, in a fixed word."""


class Spans(Protocol):
    """Begins spans. What is begun inside the block belongs to the span."""

    def store(self, name: str) -> AbstractContextManager[Span]:
        """A question to a store. An exception that leaves the block fails it, by its type alone."""

    def call(self, method: str, metadata: Iterable[tuple[str, Any]]) -> AbstractContextManager[Span]:
        """A call of `package.Service/Method`; part of the caller's trace, if the metadata name one (W3C)."""
