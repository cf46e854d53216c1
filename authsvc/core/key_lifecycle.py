"""Owns when a signing key begins and ends: prepared → active → retiring → retired, and tainted. Leaves cryptography to
core.signing_keys, taking turns to the key store.

There is always a prepared key: made the moment the one before it began to sign, and published from then on, so that
every verifier knows it long before its first token, also when the active one has to be given up at once. It signs when
its time has come and it was published for twice the age that a verifier's key set may reach. A key that stopped signing
is published until its last token has died; its private half is erased as it stops.

Every instance looks, each second and in memory, whether something is due; of those that find so, one makes the change.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from authsvc.core.announce import Announcer
from authsvc.core.clock import DAY, MINUTE, Clock
from authsvc.core.contracts import KeyStore, Revoked, StoreUnavailable, TaintOrder
from authsvc.core.errors import InvalidRequest, NotFound, SigningKeysNotManaged
from authsvc.core.feed import Feed, FeedEvent
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, KeyState, SigningKey
from authsvc.core.operation import Asked
from authsvc.core.sealing import CannotUnseal, Vault
from authsvc.core.signing_keys import (
    KEY_SET_MAX_AGE_MS,
    KeyRing,
    Keys,
    Signer,
    SigningKeyUnusable,
    believed,
    new_key,
    open_signer,
)
from authsvc.core.view import View

PUBLISH_AHEAD_MS = 2 * KEY_SET_MAX_AGE_MS
# A key's last token, and some time for an instance that hears late that the key has stopped.
KEPT_MS = REVOCATION_GRACE + 5 * MINUTE
# Who stole a private key writes any expiry into a token, so its entry in the log has to stay.
TAINT_MS = 3_650 * DAY
COMMENT_MAX_BYTES = 256
_TAKE_UP_SECONDS = 0.25
_ACTOR = "authsvc"


class SigningKeys(Protocol):
    """Administering signing keys, however they come about."""

    async def load(self) -> None:
        """Take up what other instances have changed. Raises StoreUnavailable, CannotUnseal, SigningKeyUnusable."""

    async def step(self) -> None:
        """Make the changes that are due. Raises StoreUnavailable, CannotUnseal, SigningKeyUnusable."""

    async def list(self) -> Sequence[SigningKey]:
        """Return every key in any state, newest first. Raises StoreUnavailable."""

    async def rotate(self, asked: Asked) -> SigningKey:
        """Let the next key sign as soon as verifiers know it; return it. Raises SigningKeysNotManaged,
        StoreUnavailable, CannotUnseal."""

    async def taint(self, key_id: str, comment: str, asked: Asked) -> int:
        """Distrust a key; return the revision. Raises NotFound, InvalidRequest, SigningKeysNotManaged,
        StoreUnavailable."""


class GivenKeys:
    """Keys that the deployment's settings give: they change with the settings."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def load(self) -> None:
        """Nothing can have changed."""

    async def step(self) -> None:
        """Nothing is ever due."""

    async def list(self) -> Sequence[SigningKey]:
        """Return the keys."""
        return self._keys.ring.keys

    async def rotate(self, asked: Asked) -> SigningKey:
        """Raises SigningKeysNotManaged."""
        raise SigningKeysNotManaged

    async def taint(self, key_id: str, comment: str, asked: Asked) -> int:
        """Raises SigningKeysNotManaged."""
        raise SigningKeysNotManaged


class ManagedKeys:
    """Keys in the key store, and the ring of this instance that follows them. `rotation_ms` 0: only on demand."""

    def __init__(
        self,
        *,
        store: KeyStore,
        keys: Keys,
        vault: Vault,
        algorithm: str,
        rotation_ms: int,
        announcer: Announcer,
        feed: Feed,
        view: View,
        clock: Clock,
    ) -> None:
        self._store = store
        self._keys = keys
        self._vault = vault
        self._algorithm = algorithm
        self._rotation_ms = rotation_ms
        self._announcer = announcer
        self._feed = feed
        self._view = view
        self._clock = clock
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys anew, making the first if there is none, and swap the ring. Raises StoreUnavailable;
        CannotUnseal and SigningKeyUnusable after the swap: this instance cannot sign, now or once the time has come."""
        async with self._loading:  # of two, the one that read later must swap later
            keys = await self._store.list()
            active = _only(keys, KeyState.ACTIVE)
            if active is None:
                self._swap(KeyRing(None, believed(keys)))  # What signed until now may be what was distrusted.
                first = await self._new_key(KeyState.ACTIVE)
                await self._store.create_active(first, self._event("key.created", first.id))
                keys = await self._store.list()
                active = _only(keys, KeyState.ACTIVE)
            try:
                opened = await self._open(active)
            except (CannotUnseal, SigningKeyUnusable):
                self._swap(KeyRing(None, believed(keys)))
                raise
            self._swap(KeyRing(opened, believed(keys)))
            # Better known now than on the day when it is to sign.
            if (prepared := self._prepared()) is not None:
                self._vault.unseal(prepared.sealed_private, prepared.id)

    async def step(self) -> None:
        """Prepare, activate and retire what is due."""
        now = self._clock()
        prepared = self._prepared()
        if prepared is None:
            await self._prepare()
        elif (begins_at := self._begins_at(prepared)) is not None and now >= begins_at:
            await self._activate(prepared, self._event("key.activated", prepared.id))
        if any(
            key.retiring_at is not None and key.retiring_at < now - KEPT_MS for key in self._keys.ring.keys
        ):
            await self._store.retire(now - KEPT_MS, self._event("key.retired"))
            await self._changed()

    async def list(self) -> Sequence[SigningKey]:
        """Return every key, newest first; of a prepared one `active_at` is when it will sign, as things stand."""
        keys = await self._store.list(retired=True)
        return [
            replace(key, active_at=self._begins_at(key)) if key.state is KeyState.PREPARED else key
            for key in keys
        ]

    async def rotate(self, asked: Asked) -> SigningKey:
        """Let the next key sign, or plan that it will; return it."""
        await self.load()
        while True:
            prepared = self._prepared()
            if prepared is None:
                await self._prepare()
                continue
            now, ready_at = self._clock(), prepared.created_at + PUBLISH_AHEAD_MS
            if now >= ready_at:
                event = self._event("key.activated", prepared.id, asked)
                if await self._activate(prepared, event):
                    return replace(prepared, state=KeyState.ACTIVE, active_at=now)
            else:
                event = self._event("key.rotation_planned", prepared.id, asked)
                planned = await self._store.plan(prepared.id, ready_at, event)
                await self._changed()
                if planned:
                    return replace(prepared, active_at=ready_at)

    async def taint(self, key_id: str, comment: str, asked: Asked) -> int:
        """Distrust a key, at this instance before this returns; return the revision of the log that says so."""
        if len(comment.encode()) > COMMENT_MAX_BYTES:
            raise InvalidRequest(("comment", f"must be at most {COMMENT_MAX_BYTES} bytes"))
        now = self._clock()
        event = self._event("key.tainted", ": ".join(filter(None, (key_id, comment))), asked)
        entry = await self._store.taint(key_id, TaintOrder(now, comment, now + TAINT_MS, event))
        if entry is None:
            raise NotFound
        try:
            async with asyncio.timeout(_TAKE_UP_SECONDS):
                await self.load()
        except (TimeoutError, StoreUnavailable, CannotUnseal, SigningKeyUnusable):
            self._drop(
                key_id
            )  # Distrust does not wait for the key that takes its place, which the next load brings.
        await self._announcer.announce(Revoked(entry.revision, (entry,), ()))
        return entry.revision

    async def _prepare(self) -> None:
        key = await self._new_key(KeyState.PREPARED)
        await self._store.prepare(key, self._event("key.created", key.id))
        await self._changed()

    async def _activate(self, prepared: SigningKey, event: AuditEvent) -> bool:
        """False if another instance was first. Raises CannotUnseal: an instance that cannot open it is not the one."""
        self._vault.unseal(prepared.sealed_private, prepared.id)
        activated = await self._store.activate(prepared.id, event.happened_at, event)
        await self._changed()
        return activated

    async def _changed(self) -> None:
        """Take up what this instance, or the one that was faster, has changed, and tell the others."""
        await self.load()
        await self._announcer.tell()

    def _begins_at(self, prepared: SigningKey) -> int | None:
        """When a prepared key will sign: as asked for, or when the active one has signed for long enough."""
        active = _only(self._keys.ring.keys, KeyState.ACTIVE)
        planned = [] if prepared.active_at is None else [prepared.active_at]
        if self._rotation_ms and active is not None:
            planned.append((active.active_at or active.created_at) + self._rotation_ms)
        return max(min(planned), prepared.created_at + PUBLISH_AHEAD_MS) if planned else None

    def _prepared(self) -> SigningKey | None:
        return _only(self._keys.ring.keys, KeyState.PREPARED)

    async def _open(self, active: SigningKey | None) -> Signer:
        if active is None:
            raise SigningKeyUnusable("no key is active")
        opened = self._keys.ring.opened
        if opened is not None and opened.key_id == active.id:
            return opened
        return await asyncio.to_thread(open_signer, active, self._vault)

    async def _new_key(self, state: KeyState) -> SigningKey:
        return await asyncio.to_thread(new_key, self._vault, self._algorithm, self._clock(), state)

    def _swap(self, ring: KeyRing) -> None:
        """Put the ring in force; followers are told in the same step, so that none misses it."""
        before, self._keys.ring = self._keys.ring, ring
        if before.keys != ring.keys:
            self._feed.publish([FeedEvent(self._view.revision)])

    def _drop(self, key_id: str) -> None:
        ring = self._keys.ring
        opened = None if ring.opened is not None and ring.opened.key_id == key_id else ring.opened
        self._swap(KeyRing(opened, tuple(key for key in ring.keys if key.id != key_id)))

    def _event(self, event: str, reason: str = "", asked: Asked | None = None) -> AuditEvent:
        if asked is None:
            return AuditEvent(event, self._clock(), actor=_ACTOR, reason=reason)
        return AuditEvent(
            event,
            self._clock(),
            actor=asked.caller.actor,
            client_id=asked.caller.client_id,
            device=asked.device,
            reason=reason,
        )


def _only(keys: Sequence[SigningKey], state: KeyState) -> SigningKey | None:
    return next((key for key in keys if key.state is state), None)
