"""What the messages of Watch mean, without a transport."""

from __future__ import annotations  # stub-only types

from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.strict import KeySetRefused
from authsvc_client.verifying import NEVER_HEARD_MS, Revocations, Verifier
from authsvc_client.watching.following import SILENCE_MS, Following, OutOfStep
from tests.client.strict_minting import ISSUER, JWK, KEYS, NOW, OTHER_JWK, to_json


class Clock:
    """A time that stands until moved."""

    def __init__(self) -> None:
        self.now = 50_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The monotonic clock of everything here."""
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> Verifier:
    """Has keys and an empty view."""
    view = Revocations(clock=lambda: NOW, monotonic=clock)
    return Verifier(ISSUER, "orders", keys=KEYS, revocations=view, clock=lambda: NOW)


@pytest.fixture
def following(verifier: Verifier, clock: Clock) -> Following:
    """Follows for `verifier`, from the beginning."""
    return Following(verifier, clock)


def timestamp(at: int) -> Timestamp:
    return Timestamp(seconds=at // 1000, nanos=at % 1000 * 1_000_000)


def entry(revision: int, session_id: str = "session-1") -> resources.Revocation:
    expires = timestamp(NOW + 3_600_000)
    return resources.Revocation(revision=revision, session_id=session_id, expire_time=expires)


def snapshot(revision: int, *entries: resources.Revocation, partial: bool = False) -> pb.WatchResponse:
    keys = () if partial else (public_key(JWK),)
    whole = pb.Snapshot(revision=revision, revocations=entries, keys=keys, partial=partial)
    return pb.WatchResponse(snapshot=whole)


def heartbeat(revision: int, sent_at: int = NOW) -> pb.WatchResponse:
    return pb.WatchResponse(heartbeat=pb.Heartbeat(revision=revision, server_time=timestamp(sent_at)))


def public_key(
    jwk: dict[str, str], state: resources.SigningKeyState.ValueType = resources.SIGNING_KEY_STATE_ACTIVE
) -> resources.PublicKey:
    return resources.PublicKey(jwk=to_json(jwk).decode(), key_id=jwk["kid"], state=state)


def test_begins_with_a_snapshot_and_resumes_after_it(following: Following) -> None:
    """The first stream asks for everything, later ones for what follows the last entry taken."""
    first = following.begin()

    following.take(snapshot(3))
    following.take(pb.WatchResponse(revocation=entry(4)))

    assert first.from_revision == 0
    assert following.begin().from_revision == 4
    assert following.revocations.revision == 4


def test_every_part_of_a_snapshot_counts_at_once(following: Following) -> None:
    """What a part says is revoked is so before the last part has come; the position waits for that."""
    following.take(snapshot(3, entry(0, "session-1"), partial=True))

    assert following.revocations.revokes_session("session-1")
    assert following.position == 0
    assert following.revocations.revision == 0


def test_broken_snapshot_is_asked_for_again(following: Following) -> None:
    """A snapshot whose last part never came brings the follower nowhere."""
    following.take(snapshot(3, entry(0), partial=True))

    assert following.begin().from_revision == 0


def test_batch(following: Following) -> None:
    """Several entries in one message count like one after the other."""
    following.take(snapshot(3))
    batch = pb.RevocationBatch(revocations=[entry(4, "session-4"), entry(5, "session-5")])

    following.take(pb.WatchResponse(revocation_batch=batch))

    assert following.position == 5
    assert following.revocations.revokes_session("session-4")
    assert following.revocations.revokes_session("session-5")


def test_missing_entry_is_noticed(following: Following) -> None:
    """An entry out of turn is a reason to ask again from the last position, alone or in a batch."""
    following.take(snapshot(3))

    for message in (
        pb.WatchResponse(revocation=entry(5)),
        pb.WatchResponse(revocation_batch=pb.RevocationBatch(revocations=[entry(4), entry(6)])),
        heartbeat(4),
    ):
        with pytest.raises(OutOfStep):
            following.take(message)

    assert following.begin().from_revision == 3


def test_repeated_entry_does_no_harm(following: Following) -> None:
    """An entry that is known already is taken again without a word."""
    following.take(snapshot(3))

    following.take(pb.WatchResponse(revocation=entry(2)))

    assert following.position == 3
    assert following.revocations.revision == 3


def test_only_heartbeats_make_the_view_fresh(following: Following) -> None:
    """An instance that has lost its own log still gives snapshots; only a heartbeat says that nothing is missing."""
    following.take(snapshot(3))
    before = following.revocations.age_ms()

    is_beat = following.take(heartbeat(3))

    assert before == NEVER_HEARD_MS
    assert is_beat
    assert following.revocations.age_ms() == 0


def test_late_heartbeat_tells_its_true_age(following: Following, clock: Clock) -> None:
    """A heartbeat that waited somewhere makes the view no younger than it was when it was sent."""
    following.take(snapshot(3))
    following.take(heartbeat(3, NOW))

    clock.now += 3_000
    following.take(heartbeat(3, NOW + 1_000))

    assert following.revocations.age_ms() == 2_000


def test_heartbeats_from_before_a_pause_prove_nothing(following: Following, clock: Clock) -> None:
    """A process that stood still finds old heartbeats in its buffers: they are no reason to believe the view."""
    following.take(snapshot(3))
    following.take(heartbeat(3, NOW))

    clock.now += 60_000

    with pytest.raises(OutOfStep):
        following.take(heartbeat(3, NOW + 1_000))
    assert following.revocations.age_ms() == 60_000
    assert SILENCE_MS < 5_000


def test_clocks_need_not_agree(following: Following, clock: Clock) -> None:
    """The server's clock may be hours away: only how it runs counts, and a new stream measures anew."""
    following.take(snapshot(3))
    following.take(heartbeat(3, NOW + 7_200_000))
    clock.now += 1_000

    following.begin()
    following.take(heartbeat(3, NOW - 7_200_000))

    assert following.revocations.age_ms() == 0


def test_keys_follow_the_stream(following: Following, verifier: Verifier) -> None:
    """A snapshot's keys and each change of the key set are in force at once, for every verifier."""
    other = Verifier(ISSUER, "billing")
    following.add(other)

    following.take(snapshot(3))
    changed = resources.KeySet(keys=[public_key(JWK), public_key(OTHER_JWK)])
    following.take(pb.WatchResponse(key_set=changed))

    for each in (verifier, other):
        assert {key.key_id for key in each.keys or ()} == {JWK["kid"], OTHER_JWK["kid"]}


@pytest.mark.parametrize("state", [resources.SIGNING_KEY_STATE_TAINTED, resources.SIGNING_KEY_STATE_RETIRED])
def test_distrusted_key_is_never_used(
    following: Following, verifier: Verifier, state: resources.SigningKeyState.ValueType
) -> None:
    """A key that is not to be believed is not, even where it is listed."""
    listed = resources.KeySet(keys=[public_key(JWK, state), public_key(OTHER_JWK)])

    following.take(pb.WatchResponse(key_set=listed))

    assert [key.key_id for key in verifier.keys or ()] == [OTHER_JWK["kid"]]


def test_refused_key_set_leaves_the_last_one(following: Following, verifier: Verifier) -> None:
    """A set that must not be used changes nothing."""
    listed = resources.KeySet(keys=[public_key(JWK), public_key(JWK)])

    with pytest.raises(KeySetRefused):
        following.take(pb.WatchResponse(key_set=listed))

    assert verifier.keys is KEYS


def test_kind_of_a_newer_server(following: Following) -> None:
    """A kind of revocation that this client does not know does not stop it from following."""
    following.take(snapshot(3))

    following.take(pb.WatchResponse(revocation=resources.Revocation(revision=4)))

    assert following.position == 4


@pytest.mark.parametrize("kind", ["user_id", "key_id", "everyone"])
def test_every_kind_is_understood(following: Following, kind: str) -> None:
    """Entries for users, keys and everyone count as what they are."""
    message = entry(4)
    setattr(message, kind, True if kind == "everyone" else str(uuid4()))

    following.take(snapshot(3))
    following.take(pb.WatchResponse(revocation=message))

    assert len(following.revocations) == 1
    assert not following.revocations.revokes_session("session-1")
