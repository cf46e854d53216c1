"""Owns reading the key set from authsvc itself, for services that verify tokens but do not follow revocations.

Leaves when to read to `verifying.key_refresh`. The call is public: no credential is sent.
"""

from typing import Final

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client.strict import KeySet
from authsvc_client.verifying import KeySourceFailed
from authsvc_client.watching.channels import open_channel_sync
from authsvc_client.watching.following import key_set_of

_TIMEOUT_SECONDS: Final = 5.0


class KeySetCall:
    """A `KeySource` that calls GetKeySet. Each read opens a channel of its own, so that a fork does no harm."""

    def __init__(
        self,
        target: str,
        *,
        tls: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        every_ms: int = 300_000,
    ) -> None:
        """Keys read over plaintext from another host could be anybody's: reading raises PlaintextRefused, unless
        `unsafe_plaintext`."""
        self.every_ms = every_ms
        self._target = target
        self._tls = tls
        self._unsafe_plaintext = unsafe_plaintext

    def read(self) -> KeySet:
        """The key set. Raises KeySourceFailed, KeySetRefused."""
        with open_channel_sync(self._target, self._tls, unsafe_plaintext=self._unsafe_plaintext) as channel:
            stub = AuthServiceStub(channel)
            try:
                response = stub.GetKeySet(pb.GetKeySetRequest(), timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                raise KeySourceFailed(f"GetKeySet: {error.code().name}") from None
        return key_set_of(response.keys)
