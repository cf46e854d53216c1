"""Counting login attempts in one process. What Valkey counts has the same rules and its own tests."""

import pytest

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.login_contract import ThrottleKey
from authsvc.core.login_counters import counters_of_account, network_of
from authsvc.core.throttle import FallbackThrottle, LocalThrottle, back_off

NOW = 1_790_000_000_000
ACCOUNT = ThrottleKey("account", 3, MINUTE, forgotten_on_success=True)
EVERYBODY = ThrottleKey("global", 3, MINUTE)


async def hit(
    throttle: LocalThrottle | FallbackThrottle, key: ThrottleKey, times: int, now: int = NOW
) -> list[int]:
    """Charge so many attempts."""
    return [await throttle.hit([key], now) for _ in range(times)]


async def test_begins_at_the_limit() -> None:
    """Up to the limit nobody waits; from then on a second, and what must wait is not charged."""
    throttle = LocalThrottle()

    assert await hit(throttle, ACCOUNT, 5) == [0, 0, 0, SECOND, SECOND]
    assert await hit(throttle, ACCOUNT, 1, NOW + SECOND) == [0]


async def test_doubles_up_to_the_window() -> None:
    """Each further failure doubles the wait, up to the window."""
    throttle, now, waits = LocalThrottle(), NOW, []
    await hit(throttle, ACCOUNT, 3)
    for _ in range(9):
        (wait,) = await hit(throttle, ACCOUNT, 1, now)
        now += wait
        await hit(throttle, ACCOUNT, 1, now)
        waits.append(wait // SECOND)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_forgets_after_a_quiet_window() -> None:
    """After a window without an attempt everything is as at first."""
    throttle = LocalThrottle()
    await hit(throttle, ACCOUNT, 3)

    assert await hit(throttle, ACCOUNT, 4, NOW + 2 * MINUTE) == [0, 0, 0, SECOND]


async def test_all_or_none() -> None:
    """If one counter must wait, none is charged."""
    throttle, other = LocalThrottle(), ThrottleKey("other", 1, MINUTE)
    await hit(throttle, ACCOUNT, 3)

    assert await throttle.hit([ACCOUNT, other], NOW) == SECOND
    assert await throttle.hit([other], NOW) == 0


async def test_success() -> None:
    """A success forgets the account's failures; from everybody's it takes only its own charge back."""
    throttle = LocalThrottle()
    for _ in range(2):
        await throttle.hit([ACCOUNT, EVERYBODY], NOW)
    await throttle.hit([ACCOUNT, EVERYBODY], NOW)

    await throttle.succeed([ACCOUNT, EVERYBODY])

    assert await hit(throttle, ACCOUNT, 3) == [0, 0, 0]
    assert await hit(throttle, EVERYBODY, 2) == [0, SECOND]


async def test_success_forgives_mistakes() -> None:
    """From the account as many attempts are taken back as were made in the network of the success; from others one."""
    throttle = LocalThrottle()
    pair, account = ACCOUNT, ThrottleKey("anywhere", 5, MINUTE, mistakes_are_forgiven=True)
    await hit(throttle, account, 2)
    for _ in range(2):
        await throttle.hit([pair, account, EVERYBODY], NOW)

    assert await throttle.succeed([pair, account, EVERYBODY]) == 2

    assert await hit(throttle, account, 4) == [0, 0, 0, SECOND]
    assert await hit(throttle, EVERYBODY, 3) == [0, 0, SECOND]


async def test_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters do not pile up: the one longest untouched goes first."""
    monkeypatch.setattr("authsvc.core.throttle._LOCAL_KEYS", 10)
    throttle = LocalThrottle()
    keys = [ThrottleKey(f"key {number}", 1, MINUTE) for number in range(20)]
    for key in keys:
        await throttle.hit([key], NOW)

    assert [await throttle.hit([key], NOW) for key in keys[10:]] == [SECOND] * 10


class Down:
    """A shared throttle that does not answer."""

    async def hit(self, keys: object, now: int) -> int:
        raise StoreUnavailable

    async def succeed(self, keys: object) -> int:
        raise StoreUnavailable


async def test_alone_when_the_others_cannot_be_asked() -> None:
    """With the shared counters down, one's own go on counting: it never switches off."""
    throttle = FallbackThrottle(Down())

    assert await hit(throttle, ACCOUNT, 4) == [0, 0, 0, SECOND]
    await throttle.succeed([ACCOUNT])
    assert await hit(throttle, ACCOUNT, 1) == [0]


def test_back_off_is_bounded() -> None:
    """However many failures, the wait is at most the window."""
    assert back_off(10**9, ACCOUNT) == MINUTE


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("", None),
        ("nonsense", None),
        ("192.0.2.1:80", None),
    ],
)
def test_networks(address: str, network: str | None) -> None:
    """An IPv4 address stands for itself, an IPv6 address for its /64, and anything else for no network."""
    assert network_of(address) == network


def test_counters_name_nobody() -> None:
    """A counter's name does not hold the name typed."""
    names = [key.name for key in counters_of_account("alice", "192.0.2.1").throttle]

    assert not any("alice" in name for name in names)
    assert len(set(names)) == 4
    assert len(counters_of_account("alice", "").throttle) == 3
