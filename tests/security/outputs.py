"""All that a server writes, kept for tests to search. Leaves what must not be in it to them."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from authsvc import logs


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at the level that logs most, as the server itself would write it."""
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug", to=written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
