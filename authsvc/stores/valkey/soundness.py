"""Owns looking at how the cache's servers are set up. Leaves refusing them to `authsvc.commands`.

The cache may lose anything, so persistence does not matter, and the loss of a session costs one read of SQL. But it
also counts logins, and everything of ours expires: every policy that evicts may throw counters away, `volatile-…` no
less than `allkeys-…`, and `volatile-ttl` before anything else. Whoever can fill the cache (by logging in, or by sharing
it) could then guess passwords without end. `noeviction` costs nothing that counts: on a full server new sessions are
not cached, while counters and ends get through (the scripts allow it). Without `maxmemory` no policy comes to act.
"""

from collections.abc import Mapping, Sequence

from authsvc.stores.valkey.topology import Topology

_SOUND = "noeviction"


async def weaknesses(topology: Topology) -> Sequence[str]:
    """Return what is wrong with how the servers are set up, a sentence each. Raises StoreUnavailable."""
    found = [_fields(bytes(reply)) for reply in await topology.ask("INFO", "memory")]
    evicting = {
        fields.get("maxmemory_policy", _SOUND) for fields in found if fields.get("maxmemory", "0") != "0"
    }
    return [
        f"maxmemory-policy is {policy}: a full cache would forget how often somebody has guessed a password; "
        f"set it to {_SOUND}"
        for policy in sorted(evicting - {_SOUND})
    ]


def _fields(info: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, _, value in lines}
