"""`authsvc`, with defects that quote and hold secrets: `python -m tests.security.sabotaged serve …`.

What ExchangeSession does ends as a defect; so do a task in the background, a callback and a thread; and with
`--at-start` the start itself. Workers are sabotaged, too. Whatever comes of it must not show CANARY.
"""

import asyncio
import sys
import threading
from typing import Any

CANARY = "kanarie61ce0b8a"
AT_START = "--at-start"


class BrokenError(Exception):
    """A defect that quotes all it was given."""


async def _break(*given: Any, **named: Any) -> Any:
    secret = CANARY  # noqa: F841  a local variable, for whoever shows those
    try:
        raise KeyError(CANARY, given, named)
    except KeyError as cause:
        raise BrokenError(f"no such thing: {CANARY} {given} {named}") from cause


def _break_at_once() -> None:
    secret = CANARY
    raise BrokenError(secret)


def _sabotage(at_start: bool) -> None:
    from authsvc.app import instance
    from authsvc.core.exchange import Exchange

    start = instance.App.start

    async def begin(app: instance.App) -> None:
        if at_start:
            await _break(app.settings.secret_keys.get_secret_value())
        loop = asyncio.get_running_loop()
        loop.call_soon(_break_at_once)
        loop.call_soon(lambda _: None, asyncio.create_task(_break()))  # nobody asks what became of it
        threading.Thread(target=_break_at_once).start()
        await start(app)

    Exchange.exchange = _break  # type: ignore[method-assign]
    instance.App.start = begin  # type: ignore[method-assign,assignment]


if __name__ == "__mp_main__":  # a worker
    _sabotage(at_start=False)

if __name__ == "__main__":
    from authsvc.__main__ import main

    _sabotage(AT_START in sys.argv)
    sys.argv = ["authsvc", *(argument for argument in sys.argv[1:] if argument != AT_START)]
    main()
