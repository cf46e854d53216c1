"""Bytes to one JSON object, read the only way that two readers can agree on (RFC 8725 §3.7, RFC 7493).

Refused: anything but UTF-8, a byte order mark, duplicate members at any depth, NaN and infinities (also
as 1e999), integers beyond ±2^53, lone surrogates, nesting deeper than asked. Raises ValueError, whose
text is not for the outside; which error that means to a token or a key set is its caller's to say.
"""

import json
import math
from typing import Any, NoReturn

MAX_INTEGER = 2**53
_MAX_DIGITS = len(str(-MAX_INTEGER))


def parse_object(raw: bytes, depth: int) -> dict[str, Any]:
    """The object in `raw`, itself counted as depth 1. Raises ValueError for everything else."""
    text = raw.decode("utf-8")
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if type(value) is not dict:
        raise ValueError("not an object")
    # Few brackets cannot nest deeply: the usual token is not walked at all.
    if text.count("{") + text.count("[") > depth:
        _check_depth(value, depth)
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _check_depth(value: object, depth: int) -> None:
    if type(value) is dict:
        inner: Any = value.values()
    elif type(value) is list:
        inner = value
    else:
        return
    if depth == 0:
        raise ValueError("nested too deeply")
    for each in inner:
        _check_depth(each, depth - 1)


def _check_surrogates(value: dict[str, Any]) -> None:
    """A lone surrogate is no character: such a text would raise later, wherever it is first written out."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _integer(digits: str) -> int:
    # The length first: turning thousands of digits into a number is quadratic.
    if len(digits) > _MAX_DIGITS or not -MAX_INTEGER <= (number := int(digits)) <= MAX_INTEGER:
        raise ValueError("integer out of range")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Built once: json.loads with hooks would build a decoder and its scanner per call.
_decode = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
).decode
