"""Owns the list of what answering needs of the rest of the service. Leaves building it to `authsvc.app`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from authsvc.core.signing_keys import Keys
from authsvc.core.validate import SessionValidator


@dataclass(frozen=True)
class Inside:
    """`metrics_page` is None where metrics are not to be shown: the listener is not on this machine only."""

    issuer: str
    keys: Keys
    validator: SessionValidator
    password_min_length: int
    is_serving: Callable[[], bool]
    metrics: CollectorRegistry
    metrics_page: Callable[[], Awaitable[bytes]] | None
