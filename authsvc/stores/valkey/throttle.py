"""Owns the shared counters of login attempts in Valkey. What a hit decides is in `hit.lua`; leaves which counters
there are, and what to do without Valkey, to the core."""

import hashlib
from collections.abc import Sequence

from authsvc.core.login_contract import ThrottleKey
from authsvc.stores.valkey.scripts import HIT, SUCCEED
from authsvc.stores.valkey.topology import Topology

# All counters live in one slot of a cluster: "charge all or none" needs one script over them, and logins, held back
# by argon2, are far too few to fill one server.
_TAG = b"at"


class ValkeyThrottle:
    """A LoginThrottle."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        rules = [number for key in keys for number in (key.limit, key.window_ms, key.longest_ms)]
        frame = HIT.call([_name(key) for key in keys], now, *rules)
        return int(await self._topology.connection(_TAG).send(frame))

    async def succeed(self, keys: Sequence[ThrottleKey]) -> int:
        rules = [number for key in keys for number in (key.limit, _taken_back(key))]
        frame = SUCCEED.call([_name(key) for key in keys], *rules)
        return int(await self._topology.connection(_TAG).send(frame))


def _taken_back(key: ThrottleKey) -> int:
    """What a success takes back from the counter, as `succeed.lua` reads it."""
    return 1 if key.forgotten_on_success else 2 if key.mistakes_are_forgiven else 0


def _name(key: ThrottleKey) -> bytes:
    """Name the counter by a digest: names hold usernames and networks, which are nobody's business here."""
    digest = hashlib.blake2b(key.name.encode(), digest_size=16).hexdigest()
    return b"{%b}:%b" % (_TAG, digest.encode())
