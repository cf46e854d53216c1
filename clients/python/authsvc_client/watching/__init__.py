"""Keeping a verifier's keys and revocations fresh: one stream from authsvc, off the path of every request.

- `watcher`         `Watcher`: on the event loop
- `watcher_thread`  `WatcherThread`: on threads of its own
- `shared`          `shared_watcher`: one per process and issuer
- `key_set_call`    `KeySetCall`: the key set alone, for `KeyRefresh`
- `following`       what the messages of the stream mean; no transport
- `back_off`        how long to wait before the next try
- `channels`        channels that never carry a credential in the clear to another host
"""

from authsvc_client.watching.channels import PlaintextRefused
from authsvc_client.watching.key_set_call import KeySetCall
from authsvc_client.watching.shared import shared_watcher, stop_shared_watchers
from authsvc_client.watching.watcher import Watcher
from authsvc_client.watching.watcher_thread import WatcherThread

__all__ = [
    "KeySetCall",
    "PlaintextRefused",
    "Watcher",
    "WatcherThread",
    "shared_watcher",
    "stop_shared_watchers",
]
