"""Owns telling background workers that their process is about to fork: what holds threads or channels must rest then.

Each worker rests before the fork, and goes on after it, in the parent and in the child, each on its own.
"""

import os
from collections.abc import Callable
from typing import Protocol
from weakref import ref


class Forkable(Protocol):
    """A worker with threads or channels."""

    def before_fork(self) -> None:
        """End threads and close channels, remembering whether there were any."""

    def after_fork(self) -> None:
        """Go on, if it was at work; called once in the parent and once in the child."""


def tell_of_forks(worker: Forkable) -> None:
    """Have `worker` told of every fork from now on, for as long as it lives. Call it once.

    A worker that uses gRPC calls it with its first channel open: gRPC has handlers of its own since then, and those
    registered later run before them ahead of a fork, and after them behind it.
    """
    found = ref(worker)

    def call(method: Callable[[Forkable], None]) -> Callable[[], None]:
        def if_alive() -> None:
            living = found()
            if living is not None:
                method(living)

        return if_alive

    before, after = call(lambda living: living.before_fork()), call(lambda living: living.after_fork())
    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)
