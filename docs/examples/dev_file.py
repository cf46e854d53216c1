"""Reads what `authsvc dev` says about itself, so that the examples need no configuration. Not for production."""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DevFile:
    """Where the development server is, and keys and passwords that are good there."""

    address: str
    issuer: str
    username: str
    client_key: str = field(repr=False)
    password: str = field(repr=False)


def read_dev_file(path: str) -> DevFile:
    """Raises FileNotFoundError before `authsvc dev` has started."""
    said = json.loads(Path(path).read_text())
    return DevFile(said["address"], said["issuer"], said["username"], said["client_key"], said["password"])
