"""Owns which counters a login attempt is charged to, and their numbers. Leaves counting to core.throttle and to stores.

Counters are by the name typed, whether or not such a user exists, so that being slowed down tells nothing; names are
hashed, so that a dump of the counters names nobody.

A success forgives what was mistyped for the same account in the same network, and nothing else: neither does a login
of the user excuse somebody who guesses from elsewhere, nor does a login of one's own excuse guesses at others.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Protocol

from authsvc.core.clock import DAY, MINUTE, SECOND, Clock
from authsvc.core.housekeeping import BATCH, COUNTED_AT_MOST
from authsvc.core.login_contract import FailureLimits, ThrottleKey

_WINDOW = 5 * MINUTE
_LIMIT = 10
_DEVICE_LIMIT = 5
_GLOBAL_LIMIT = 1000
# A flood slows everybody down to a failure a second, and does not lock everybody out.
_GLOBAL_WAIT = SECOND
# A person's own mistakes within a day, and then some (NIST SP 800-63B-4 §3.2.2: no more than 100 in a row).
_DAILY_LIMIT = 100
_DAILY_WAIT = 15 * MINUTE
# Names that no address and no network has.
_NO_NETWORK = "-"


@dataclass(frozen=True, slots=True)
class Counters:
    """What an attempt is charged to. `lasting`, a digest, names the counter in SQL."""

    throttle: tuple[ThrottleKey, ...]
    lasting: bytes


LASTING_LIMITS = FailureLimits(
    recent=ThrottleKey("recent", _LIMIT, _WINDOW),
    daily=ThrottleKey("daily", _DAILY_LIMIT, DAY, longest_wait_ms=_DAILY_WAIT),
)


def counters_of_account(username_key: str, ip_address: str) -> Counters:
    """Return the counters of an attempt from anywhere: of the account in its network, of the account, of the network
    if it is known, of everybody."""
    account = _digest("account", username_key)
    network = network_of(ip_address)
    keys = [
        ThrottleKey(f"pair:{account}:{network or _NO_NETWORK}", _LIMIT, _WINDOW, forgotten_on_success=True),
        ThrottleKey(f"account:{account}", _LIMIT, _WINDOW, mistakes_are_forgiven=True),
        ThrottleKey("global", _GLOBAL_LIMIT, _WINDOW, longest_wait_ms=_GLOBAL_WAIT),
    ]
    if network is not None:
        keys.append(ThrottleKey(f"network:{network}", _LIMIT, _WINDOW))
    return Counters(tuple(keys), bytes.fromhex(account))


def counters_of_device(device_id: str) -> Counters:
    """Return the counters of an attempt from a device that the user has logged in from before: its own alone."""
    device = _digest("device", device_id)
    key = ThrottleKey(f"device:{device}", _DEVICE_LIMIT, _WINDOW, forgotten_on_success=True)
    return Counters((key,), bytes.fromhex(device))


def network_of(ip_address: str) -> str | None:
    """The network that shares a fate: an IPv4 address or an IPv6 /64; None if the address is none."""
    try:
        address = ipaddress.ip_address(ip_address)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(getattr(address, "ipv4_mapped", None) or address)


def at_limit(recent: int, daily: int, limits: FailureLimits) -> bool:
    """Whether failures in SQL are so many that each further attempt must be counted before it is made."""
    return recent >= limits.recent.limit or daily >= limits.daily.limit


class ForgottenStore(Protocol):
    """The failures in SQL, by when they are to be forgotten."""

    async def forget(self, before_at: int, limit: int) -> int:
        """Delete at most `limit` counters that were to be forgotten before then; return how many."""

    async def count(self, before_at: int, limit: int) -> int:
        """Count counters that were to be forgotten before then, up to `limit`."""


class ForgottenFailures:
    """Removes counters that say nothing any more: a chore of core.housekeeping."""

    name = "login_failures"

    def __init__(self, store: ForgottenStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def step(self) -> int | None:
        """Settle one batch; see core.housekeeping.Chore."""
        return await self._store.forget(self._clock(), BATCH) or None

    async def backlog(self) -> int:
        """Count what is due; see core.housekeeping.Chore."""
        return await self._store.count(self._clock(), COUNTED_AT_MOST)


def _digest(kind: str, text: str) -> str:
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=16, person=kind.encode()
    ).hexdigest()
