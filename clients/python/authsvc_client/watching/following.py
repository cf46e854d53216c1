"""Owns what the messages of Watch mean: it puts them into effect and notices when one is missing.

No transport here; `watcher` and `watcher_thread` read the stream. The position in the log is the stream's own: it
begins where the last one ended, every revision follows the one before, and a heartbeat names the last.
"""

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock, monotonic_clock
from authsvc_client.strict import KeySet
from authsvc_client.verifying import Revocation, Subject, Verifier

# A healthy instance sends a heartbeat every second.
SILENCE_MS: Final = 3_000
KEY_FETCH_MS: Final = 30_000
"""At most one fetch of the key set in this time, however many tokens name unknown keys."""

_SUBJECTS: Final = {
    "session_id": Subject.SESSION,
    "user_id": Subject.USER,
    "key_id": Subject.KEY,
    "everyone": Subject.EVERYONE,
}
_DISTRUSTED: Final = frozenset({resources.SIGNING_KEY_STATE_TAINTED, resources.SIGNING_KEY_STATE_RETIRED})


class OutOfStep(Exception):
    """Something was missed, or comes too late to be believed: follow anew from the last position."""


class Following:
    """Follows for verifiers that share one view of revocations."""

    def __init__(self, verifier: Verifier, monotonic: Clock = monotonic_clock) -> None:
        self.revocations = verifier.revocations
        self.keys: KeySet | None = verifier.keys
        self._verifiers: tuple[Verifier, ...] = (verifier,)
        self._using_keys = Lock()
        self._monotonic = monotonic
        self._position = 0
        self._offset_ms: int | None = None

    @property
    def position(self) -> int:
        """The revision to follow on from; 0 for a snapshot."""
        return self._position

    def add(self, verifier: Verifier) -> None:
        """Serve one more verifier of the same issuer; it shares the view from now on."""
        verifier.revocations = self.revocations
        with self._using_keys:
            self._verifiers = (*self._verifiers, verifier)
            if self.keys is not None:
                verifier.use_keys(self.keys)

    def begin(self) -> pb.WatchRequest:
        """A new stream begins; return what to ask."""
        self._offset_ms = None
        return pb.WatchRequest(from_revision=self._position, batches=True)

    def take(self, message: pb.WatchResponse) -> bool:
        """Put one message into effect. True if it was a heartbeat: all is well. Raises OutOfStep; KeySetRefused for a
        key set that must not be used, after everything else in the message counts."""
        match message.WhichOneof("event"):
            case "heartbeat":
                self._beat(message.heartbeat)
                return True
            case "revocation":
                self._advance((message.revocation,))
            case "revocation_batch":
                self._advance(message.revocation_batch.revocations)
            case "snapshot":
                self._restart(message.snapshot)
            case "key_set":
                self.use_keys(message.key_set.keys)
        return False

    def use_keys(self, keys: Iterable[resources.PublicKey]) -> None:
        """Put a key set in force at every verifier. Raises KeySetRefused, and the last one stays."""
        key_set = key_set_of(keys)
        with self._using_keys:
            self.keys = key_set
            for verifier in self._verifiers:
                verifier.use_keys(key_set)

    def _advance(self, messages: Sequence[resources.Revocation]) -> None:
        position = self._position
        for message in messages:
            if message.revision > position + 1:
                raise OutOfStep
            position = max(position, message.revision)
        self.revocations.apply(_revocations(messages))
        self._position = position
        self.revocations.reach(position)

    def _restart(self, snapshot: pb.Snapshot) -> None:
        # What is revoked counts before the snapshot is complete; only the position has to wait.
        self.revocations.apply(_revocations(snapshot.revocations), tell=False)
        if not snapshot.partial:
            self._position = snapshot.revision
            self.revocations.reach(snapshot.revision, snapshot=True)
            self.use_keys(snapshot.keys)

    def _beat(self, heartbeat: pb.Heartbeat) -> None:
        if heartbeat.revision > self._position:
            raise OutOfStep
        delay_ms = self._delay_ms(_milliseconds(heartbeat.server_time))
        if delay_ms > SILENCE_MS:
            raise OutOfStep
        self.revocations.heard(delay_ms)
        self.revocations.forget_expired()

    def _delay_ms(self, sent_at: int) -> int:
        """How much longer this heartbeat was on its way than the fastest of the stream.

        What waited in a buffer while this process stood still proves nothing about now. The two clocks need not agree,
        only run alike; a new stream measures anew.
        """
        offset_ms = self._monotonic() - sent_at
        self._offset_ms = offset_ms if self._offset_ms is None else min(self._offset_ms, offset_ms)
        return offset_ms - self._offset_ms


def key_set_of(keys: Iterable[resources.PublicKey]) -> KeySet:
    """The keys that may be believed. Raises KeySetRefused."""
    believed = ",".join(key.jwk for key in keys if key.state not in _DISTRUSTED)
    return KeySet.from_jwks('{"keys":[' + believed + "]}")


def _revocations(messages: Iterable[resources.Revocation]) -> Iterator[Revocation]:
    """The entries, as the view takes them. Mostly sessions, and of a snapshot a million: those go the short way."""
    for message in messages:
        if session_id := message.session_id:
            yield Revocation(Subject.SESSION, session_id, _milliseconds(message.expire_time))
            continue
        kind = message.WhichOneof("subject")
        # A kind that only a newer server knows forbids nothing that this client could judge.
        if kind is not None:
            yield Revocation(
                subject=_SUBJECTS[kind],
                subject_id="" if kind == "everyone" else getattr(message, kind),
                expires_at=_milliseconds(message.expire_time),
                issued_before_at=_milliseconds(message.issued_before_time),
            )


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000
