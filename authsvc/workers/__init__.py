"""Several processes that serve at one port. Knows no gRPC: the process that owns the others must never load it.

`port` holds the port for all of them · `line` is how a worker and its owner talk · `worker` is one of them ·
`supervisor` starts them, starts crashed ones anew and ends all · `summing` makes one page of everybody's metrics
"""

from authsvc.workers.line import Line, LineBroken
from authsvc.workers.port import CannotReserve, Port, reserve
from authsvc.workers.summing import page, told
from authsvc.workers.supervisor import Spawn, Supervisor, WorkersCannotStart

__all__ = [
    "CannotReserve",
    "Line",
    "LineBroken",
    "Port",
    "Spawn",
    "Supervisor",
    "WorkersCannotStart",
    "page",
    "reserve",
    "told",
]
