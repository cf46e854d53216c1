"""The credential of a known device, by rules alone: what makes one, and what makes it none."""

import os
from dataclasses import replace

import pytest

from authsvc.core.clock import DAY
from authsvc.core.known_devices import DEVICE_TOKEN_LENGTH, KnownDevices
from authsvc.core.model import User
from authsvc.core.secrets import DeploymentSecrets

NOW = 1_790_000_000_000
LIFETIME = 90 * DAY
ALICE = User("01900000-0000-7000-8000-000000000001", "alice", (), NOW, None, NOW - DAY)
BOB = replace(ALICE, id="01900000-0000-7000-8000-000000000002")
OLD, NEW = b"o" * 32, b"n" * 32


def devices(*secrets: bytes, now: int = NOW, lifetime_ms: int = LIFETIME) -> KnownDevices:
    """Devices known under these secrets at that time."""
    return KnownDevices(DeploymentSecrets(secrets or (NEW,)), lifetime_ms, lambda: now, os.urandom)


def test_says_whose_it_is() -> None:
    """A credential is its user's, with the password of that time, and of one form that scanners can find."""
    token = devices().make(ALICE)
    device = devices().get(token)

    assert device is not None
    assert device.is_of(ALICE)
    assert not device.is_of(BOB)
    assert not device.is_of(replace(ALICE, password_changed_at=NOW))
    assert token.startswith("atd_")
    assert len(token) == DEVICE_TOKEN_LENGTH


@pytest.mark.parametrize(("passed", "is_known"), [(LIFETIME - 1, True), (LIFETIME, False)])
def test_ends_with_its_time(passed: int, is_known: bool) -> None:
    """A credential ends to the millisecond."""
    token = devices().make(ALICE)

    assert (devices(now=NOW + passed).get(token) is not None) is is_known


def test_renewed_for_the_same_device() -> None:
    """A login with the credential gives the same device a new term, and anybody else's a new device."""
    first = devices().make(ALICE)
    renewed = devices(now=NOW + DAY).make(ALICE, first)
    known, again, bobs = (
        devices(now=NOW + LIFETIME - 1).get(token)
        for token in (first, renewed, devices(now=NOW + DAY).make(BOB, first))
    )

    assert known == again
    assert devices(now=NOW + LIFETIME).get(renewed) is not None
    assert known is not None
    assert bobs is not None
    assert bobs.id != known.id


def test_nobody_else_makes_one() -> None:
    """A text that differs in one character from one of ours is none (Guard: the MAC in `get`)."""
    token = devices().make(ALICE)
    texts = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]

    assert not any(devices().get(text) for text in texts)
    assert not any(devices().get(text) for text in ("", "atd_", token[:-1], token + "A", "\u00e9" * 80))
    assert devices(OLD).get(token) is None


def test_deployment_secrets_rotate() -> None:
    """What was made under an older secret is good as long as that is listed."""
    token = devices(OLD).make(ALICE)

    assert devices(NEW, OLD).get(token) is not None
    assert devices(NEW).get(token) is None


def test_switched_off() -> None:
    """With a lifetime of nothing no device is known, not even one that was."""
    token = devices().make(ALICE)
    off = devices(lifetime_ms=0)

    assert off.make(ALICE) == ""
    assert off.get(token) is None
