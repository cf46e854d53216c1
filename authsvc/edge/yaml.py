"""Owns writing a configuration down as YAML that people can read. Leaves what is in it to the others.

Scalars are written as JSON, which YAML contains, so that nothing is ever read as something else.
"""

import json
from collections.abc import Iterator
from typing import Any


def written(config: dict[str, Any]) -> str:
    """Return the YAML of dictionaries, lists, texts, numbers and booleans."""
    return "\n".join(_lines(config)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entry(f"{_key(key)}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *others = _lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield json.dumps(value)


def _entry(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield name
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{name} {json.dumps(value)}"


def _key(key: str) -> str:
    return json.dumps(key) if key.startswith("@") else key
