"""The compact set of ids: exact answers, bounded by expiry."""

import sys
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc_client.verifying.expiring_ids import ExpiringIds

NOW = 1_800_000_000_000
HOUR = 3_600_000


def test_only_what_was_added_is_in() -> None:
    """Every id that was added is found, and none that was not."""
    ids, added, others = (
        ExpiringIds(),
        [str(uuid4()) for _ in range(20_000)],
        [str(uuid4()) for _ in range(20_000)],
    )

    for each in added:
        ids.add(each, NOW)

    assert all(each in ids for each in added)
    assert not any(each in ids for each in others)
    assert len(ids) == len(added)


def test_adding_twice_keeps_the_longer_expiry() -> None:
    """An entry that comes again neither counts twice nor ends sooner."""
    ids, each = ExpiringIds(), str(uuid4())

    ids.add(each, NOW + HOUR)
    ids.add(each, NOW)
    ids.sweep(NOW + HOUR - 1)

    assert each in ids
    assert len(ids) == 1


def test_expired_ids_are_dropped() -> None:
    """A sweep drops what has expired and nothing else."""
    ids, gone, kept = (
        ExpiringIds(),
        [str(uuid4()) for _ in range(5_000)],
        [str(uuid4()) for _ in range(5_000)],
    )
    for old, young in zip(gone, kept, strict=True):
        ids.add(old, NOW)
        ids.add(young, NOW + HOUR)

    ids.sweep(NOW + 1_000)

    assert not any(each in ids for each in gone)
    assert all(each in ids for each in kept)
    assert len(ids) == len(kept)


def test_sweeping_in_steps_reaches_every_part() -> None:
    """Steps that go on from one another see the whole set, so that none has to take long."""
    ids = ExpiringIds()
    for _ in range(5_000):
        ids.add(str(uuid4()), NOW)

    for _ in range(64):
        ids.sweep(NOW + 1_000, parts=64)

    assert len(ids) == 0


def test_text_that_is_no_uuid_is_not_held() -> None:
    """Only UUIDs fit; the caller is told to keep anything else elsewhere."""
    ids = ExpiringIds()

    assert not ids.add("session-1", NOW)
    assert "session-1" not in ids
    assert len(ids) == 0


def test_match_across_two_records_is_none() -> None:
    """Bytes that span the end of one record and the beginning of the next are not an id that was added."""
    ids = ExpiringIds()
    first, second = b"\x11" * 14 + b"\x00\x00", b"\x22" * 6 + b"\x00\x00" + b"\x22" * 6 + b"\x00\x00"
    for each in (first, second):
        ids.add(str(UUID(bytes=each)), NOW)
    across = ids._parts[0][12:28]  # ends like both, so it would be looked for in the same part

    assert across.endswith(b"\x00\x00")
    assert str(UUID(bytes=second)) in ids
    assert str(UUID(bytes=across)) not in ids


@settings(deadline=None)
@given(st.lists(st.tuples(st.uuids(), st.integers(0, 2**40)), max_size=60), st.integers(0, 2**40))
def test_answers_are_those_of_a_dictionary(entries: list[tuple[UUID, int]], now: int) -> None:
    """Whatever is added, it answers like a plain dictionary of the same ids."""
    ids, plain = ExpiringIds(), dict[str, int]()
    for each, expires_at in entries:
        ids.add(str(each), expires_at)
        plain[str(each)] = max(plain.get(str(each), 0), expires_at)

    ids.sweep(now)

    kept = {each for each, expires_at in plain.items() if -(-expires_at // 1000) >= -(-now // 1000)}
    assert {each for each in plain if each in ids} == kept
    assert len(ids) == len(kept)


def test_memory_per_entry() -> None:
    """An entry takes 20 bytes and a share of its part's header, not the hundreds of a dictionary of texts."""
    ids = ExpiringIds()
    for _ in range(50_000):
        ids.add(str(uuid4()), NOW)

    size = sys.getsizeof(ids._parts) + sum(sys.getsizeof(part) for part in ids._parts)

    assert size < 50_000 * 30
