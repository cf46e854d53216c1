"""Owns telling background workers that their process is a child just forked, where their threads do not run.

Each worker decides what that means for it: a new thread, a new channel, new locks.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A worker that can begin again in a child process."""

    def after_fork(self) -> None:
        """Called once in each child, on its only thread."""


_workers: WeakSet[Forkable] = WeakSet()


def tell_after_fork(worker: Forkable) -> None:
    """Have `worker.after_fork` called in every child that this process forks, for as long as the worker lives."""
    _workers.add(worker)


def _after_fork() -> None:
    for worker in list(_workers):
        worker.after_fork()


os.register_at_fork(after_in_child=_after_fork)
