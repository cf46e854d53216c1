"""Owns what every operation needs to know of the call it serves. Leaves where that comes from to authsvc.rpc."""

from dataclasses import dataclass

from authsvc.core.callers import Caller
from authsvc.core.model import Device


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, from where, and how long they will wait (milliseconds from now)."""

    caller: Caller
    device: Device
    wait_ms: int
