"""Owns the roll that instances sign. What signing does is in `roll.lua`; leaves its meaning to core.roll."""

from collections.abc import Mapping

from authsvc.core.roll import Signature
from authsvc.stores.valkey.scripts import ROLL
from authsvc.stores.valkey.topology import Topology

_TAG = b"ar"
_KEY = b"{ar}"


class ValkeyRoll:
    """A Roll. It lies in one slot; but nobody signs who does not reach every server."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    async def sign(self, name: str, epoch: int) -> Mapping[str, Signature]:
        await self._topology.ask("PING")
        found = await self._topology.connection(_TAG).send(ROLL.call([_KEY], name, epoch))
        signed = zip(found[::3], found[1::3], found[2::3], strict=True)
        return {name.decode(): Signature(int(epoch), int(age_ms)) for name, epoch, age_ms in signed}
