"""Owns the one watcher of each issuer in this process. Leaves following to `watcher_thread`."""

import atexit
from threading import Lock

import grpc

from authsvc_client.verifying import Verifier
from authsvc_client.watching.channels import Credential
from authsvc_client.watching.watcher_thread import WatcherThread

_watchers: dict[str, WatcherThread] = {}
_changing = Lock()


def shared_watcher(
    target: str,
    credential: Credential,
    verifier: Verifier,
    *,
    tls: grpc.ChannelCredentials | None = None,
    unsafe_plaintext: bool = False,
) -> WatcherThread:
    """The started watcher of the verifier's issuer in this process, serving this verifier too.

    The first call decides target and credential. It runs on threads of its own, so it serves programs with and without
    an event loop, and ends with the process. Raises PlaintextRefused; ValueError for a second target of one issuer.
    """
    with _changing:
        watcher = _watchers.get(verifier.issuer)
        if watcher is None:
            watcher = WatcherThread(target, credential, verifier, tls=tls, unsafe_plaintext=unsafe_plaintext)
            watcher.start()
            _watchers[verifier.issuer] = watcher
        elif watcher.target != target:
            raise ValueError(f"{verifier.issuer} is already watched at {watcher.target}")
        else:
            watcher.add(verifier)
    return watcher


def stop_shared_watchers() -> None:
    """Stop them all; the next call of `shared_watcher` starts anew."""
    with _changing:
        watchers = list(_watchers.values())
        _watchers.clear()
    for watcher in watchers:
        watcher.stop()


atexit.register(stop_shared_watchers)
