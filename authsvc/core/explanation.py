"""Owns what an explanation is, and how times are said in it. Leaves finding out to `explain` and `explain_access`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong with a token: `findings`, the one that decides first; and whose it is, where that is certain.

    `active` is whether it is good at this server now. It may be so although there are findings: a clock elsewhere that
    is wrong.
    """

    active: bool
    findings: tuple[str, ...]
    token_type: str = ""
    session_id: str = ""
    user_id: str = ""
    client_id: str = ""
    key_id: str = ""
    expires_at: int | None = None


def span(milliseconds: int) -> str:
    """Say how long: `3.2 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if milliseconds < MINUTE:
        return f"{milliseconds / SECOND:.1f} s"
    if milliseconds < HOUR:
        return f"{milliseconds // MINUTE} min {milliseconds % MINUTE // SECOND} s"
    if milliseconds < DAY:
        return f"{milliseconds // HOUR} h {milliseconds % HOUR // MINUTE} min"
    return f"{milliseconds // DAY} d {milliseconds % DAY // HOUR} h"


def moment(at: int) -> str:
    """Say when, in UTC: `2026-11-24T06:49:22.120Z`. What no calendar holds is said as a number."""
    try:
        time = _EPOCH + timedelta(milliseconds=at)
    except OverflowError:
        return f"{at} ms after 1970"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def passed(what: str, at: int, now: int) -> str:
    """Say that something ended: `It expired 3.2 s ago, at …`."""
    return f"{what} {span(now - at)} ago, at {moment(at)}."
