"""Owns which fixtures the attacks share. Leaves their making to the files beside it."""

from tests.security.outputs import log

__all__ = ["log"]
