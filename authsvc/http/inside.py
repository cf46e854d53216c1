"""Owns the list of what answering needs of the rest of the service. Leaves building it to `authsvc.app`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from authsvc.core.caller import Caller
from authsvc.core.callers import Callers
from authsvc.core.gate import Gate
from authsvc.core.signing_keys import Keys
from authsvc.core.validate import SessionValidator

Refused = Callable[[Exception], tuple[int, str, dict[str, str]] | None]


@dataclass(frozen=True)
class Inside:
    """What is answered with.

    `anonymous` stands in for proxies on this machine that send no key; None outside development. `refused` returns what
    a refusal is over HTTP: status code, JSON, headers; None for what is a defect. `metrics_page` is None where metrics
    are not to be shown: the listener is not on this machine only.
    """

    issuer: str
    keys: Keys
    validator: SessionValidator
    gate: Gate
    callers: Callers
    anonymous: Caller | None
    refused: Refused
    password_min_length: int
    is_serving: Callable[[], bool]
    metrics: CollectorRegistry
    metrics_page: Callable[[], Awaitable[bytes]] | None
