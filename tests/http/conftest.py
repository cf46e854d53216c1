"""Fixtures of the HTTP listener."""

from tests.http.listening import listening

__all__ = ["listening"]
