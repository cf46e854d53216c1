"""Owns a large set of UUIDs, each with its expiry, in 20 bytes an entry. Leaves what they mean to `revocations`.

The set is cut into 4,096 parts by the id's last 12 bits, which are random in every id that authsvc makes. A part is
one immutable `bytes` of records: the id's 16 bytes, then its expiry in Unix seconds as 4. A question searches one part,
in C (1,000,000 entries make parts of 5 kB); a change puts a new `bytes` in the part's place, so that readers in other
threads need no lock: they see the part before or after.
"""

from typing import Final

_PARTS: Final = 4_096
_ID: Final = 16
_RECORD: Final = 20
_LAST_SECOND: Final = 2**32 - 1


class ExpiringIds:
    """A set of UUID texts. Any number of readers, one writer at a time."""

    __slots__ = ("_count", "_cursor", "_parts")

    def __init__(self) -> None:
        self._parts = [b""] * _PARTS
        self._count = 0
        self._cursor = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: str) -> bool:
        packed = _packed(text)
        return packed is not None and _find(self._parts[_part_of(packed)], packed) >= 0

    def add(self, text: str, expires_at: int) -> bool:
        """Hold the id at least until `expires_at` (Unix ms). False, and nothing held, if the text is not a UUID."""
        packed = _packed(text)
        if packed is None:
            return False
        number, until = _part_of(packed), _seconds(expires_at)
        part = self._parts[number]
        at = _find(part, packed)
        if at < 0:
            self._parts[number] = part + packed + until
            self._count += 1
        elif part[at + _ID : at + _RECORD] < until:
            self._parts[number] = part[: at + _ID] + until + part[at + _RECORD :]
        return True

    def sweep(self, now: int, parts: int = _PARTS) -> None:
        """Drop what expired before `now` (Unix ms) from the next `parts` parts; the next call goes on from there."""
        for _ in range(parts):
            self._sweep_part(self._cursor, _seconds(now))
            self._cursor = (self._cursor + 1) % _PARTS

    def _sweep_part(self, number: int, now: bytes) -> None:
        part = self._parts[number]
        records = [part[at : at + _RECORD] for at in range(0, len(part), _RECORD)]
        kept = [record for record in records if record[_ID:] >= now]
        if len(kept) < len(records):
            self._parts[number] = b"".join(kept)
            self._count -= len(records) - len(kept)


def _packed(text: str) -> bytes | None:
    """The id's 16 bytes, or None if the text is not a UUID."""
    try:
        packed = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return packed if len(packed) == _ID else None


def _part_of(packed: bytes) -> int:
    return (packed[14] & 15) << 8 | packed[15]


def _find(part: bytes, packed: bytes) -> int:
    """Where the id's record begins, or -1. A match across two records is none."""
    at = part.find(packed)
    while at > 0 and at % _RECORD:
        at = part.find(packed, at + 1)
    return at


def _seconds(at: int) -> bytes:
    """The second that `at` (ms) falls in, rounded up: 4 bytes that compare like the number."""
    return min(max(0, -(-at // 1000)), _LAST_SECOND).to_bytes(4, "big")
