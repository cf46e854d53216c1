"""Owns each fault from its begin to its healing. Leaves which come when to `nemesis`, the means to the parts."""

import asyncio

from tests.faults.deployment import Deployment
from tests.faults.instances import Instance
from tests.faults.proxy import Wire

_ARMED_S = 3.0


async def wire(wire: Wire, doing: str, seconds: float) -> None:
    """Trouble on one wire."""
    match doing:
        case "stalled":
            wire.stall()
        case "cut":
            wire.cut()
        case "loses replies":
            wire.lose_replies()
        case "delayed":
            wire.delay(0.03)
        case "sliced":
            wire.slice(7)
        case "reset":
            wire.reset()
    await asyncio.sleep(seconds)
    if doing == "loses replies":
        wire.reset()  # what was lost stays lost
    wire.heal()


async def killed(instance: Instance, seconds: float) -> None:
    """Kill -9, and start again."""
    await instance.kill()
    await asyncio.sleep(seconds / 4)
    await instance.start()


async def killed_at(instance: Instance, point: str, _seconds: float) -> None:
    """Have it kill itself at a point; at any, if nothing passes by there in time. Then start it again."""
    instance.arm(point)
    if not await instance.died(_ARMED_S):
        await instance.kill()
    await instance.start()


async def paused(instance: Instance, seconds: float) -> None:
    """Hold an instance still."""
    instance.pause()
    await asyncio.sleep(seconds)
    instance.resume()


async def flushed(deployment: Deployment, _seconds: float) -> None:
    """The cache loses every key."""
    await deployment.cache.flush()


async def restarted(deployment: Deployment, _seconds: float) -> None:
    """Another process answers in place of the primary, knowing nothing."""
    await deployment.cache.restart()
    deployment.lead_to_primary()


async def restored(deployment: Deployment, seconds: float) -> None:
    """Another process answers in place of the primary, knowing what was true some time ago."""
    await deployment.cache.back_up()
    await asyncio.sleep(seconds)
    await deployment.cache.restart()
    deployment.lead_to_primary()


async def failed_over(deployment: Deployment, seconds: float) -> None:
    """A replica that had not heard the latest becomes the primary."""
    await deployment.cache.fail_over(seconds)
    deployment.lead_to_primary()
    await deployment.cache.add_replica()


async def full(deployment: Deployment, seconds: float) -> None:
    """The cache has no room for anything new."""
    await deployment.cache.fill()
    await asyncio.sleep(seconds)
    await deployment.cache.fill(False)


async def forgetful(deployment: Deployment, _seconds: float) -> None:
    """The cache forgets the scripts it was taught."""
    await deployment.cache.forget_scripts()


async def sql_killed(deployment: Deployment, seconds: float) -> None:
    """PostgreSQL is killed -9 as a whole, recovers and comes back."""
    await asyncio.to_thread(deployment.sql.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(deployment.sql.start)


async def disconnected(deployment: Deployment, _seconds: float) -> None:
    """PostgreSQL ends every connection."""
    await deployment.sql.disconnect()


async def exhausted(deployment: Deployment, seconds: float) -> None:
    """Whoever wants at the sessions waits, and keeps a connection."""
    await deployment.sql.hold("sessions", seconds)


async def stalled_for_all(deployment: Deployment, seconds: float) -> None:
    """PostgreSQL falls silent for every instance."""
    for instance in deployment.instances:
        instance.sql.stall()
    await asyncio.sleep(seconds)
    for instance in deployment.instances:
        instance.sql.heal()
