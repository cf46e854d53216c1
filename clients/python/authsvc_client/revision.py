"""Owns reading one's own revocations across services: the revision that whoever answers must have heard of.

    revision = await client.revoke_others(token)
    with at_least_revision(revision):
        await orders.ListOrders(request)

A service that is sent a revision waits until its own view has reached it. Leaves waiting to the guarding side, which
may set the same variable, so that the calls it makes in turn ask for as much.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MIN_REVISION_KEY = "authsvc-min-revision"
"""The metadata key; its value is a decimal number."""

min_revision: ContextVar[int] = ContextVar("authsvc_min_revision", default=0)
"""What calls made from here ask for; 0 asks for nothing."""


@contextmanager
def at_least_revision(revision: int) -> Iterator[None]:
    """Calls inside ask to be answered from a view at least this new, or from the one already asked for if newer."""
    token = min_revision.set(max(revision, min_revision.get()))
    try:
        yield
    finally:
        min_revision.reset(token)
