"""Owns which shared fixtures there are. Leaves their making to `tests.parts`."""

pytest_plugins = [
    "tests.parts.postgres",
    "tests.parts.sql",
    "tests.parts.wire",
    "tests.parts.valkey",
    "tests.parts.service",
    "tests.parts.listening",
    "tests.parts.chromium",
]
