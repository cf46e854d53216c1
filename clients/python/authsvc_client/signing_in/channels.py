"""Owns opening channels to other services with a source's bearer on every call: target and credentials are known here,
so that nothing has to be told twice. Leaves attaching to the interceptors.
"""

from collections.abc import Sequence

import grpc
import grpc.aio

from authsvc_client.signing_in.connections import Options
from authsvc_client.signing_in.interceptors import client_interceptors
from authsvc_client.signing_in.plaintext import DIRECT, require_local
from authsvc_client.signing_in.sources import FixedSource, Source
from authsvc_client.signing_in.sync_interceptors import SyncClientInterceptor, sync_client_interceptors
from authsvc_client.signing_in.sync_sources import SyncSource


def open_channel(
    target: str,
    source: Source | FixedSource,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    unsafe_plaintext: bool = False,
    options: Options = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A grpc.aio channel whose calls carry the bearer; `interceptors` of the caller's own come first.

    Raises PlaintextRefused for a target on another machine without `credentials`, unless `unsafe_plaintext`.
    """
    if credentials is not None:
        attaching = client_interceptors(source)
        return grpc.aio.secure_channel(
            target, credentials, options=list(options), interceptors=[*interceptors, *attaching]
        )
    given = _plaintext_options(target, unsafe_plaintext, options)
    attaching = client_interceptors(source, target=target, unsafe_plaintext=unsafe_plaintext)
    return grpc.aio.insecure_channel(target, options=given, interceptors=[*interceptors, *attaching])


def open_sync_channel(
    target: str,
    source: SyncSource | FixedSource,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    unsafe_plaintext: bool = False,
    options: Options = (),
    interceptors: Sequence[SyncClientInterceptor] = (),
) -> grpc.Channel:
    """A channel for threads whose calls carry the bearer; the rest is as for `open_channel`."""
    if credentials is not None:
        channel = grpc.secure_channel(target, credentials, options=list(options))
        return grpc.intercept_channel(channel, *interceptors, *sync_client_interceptors(source))
    channel = grpc.insecure_channel(target, options=_plaintext_options(target, unsafe_plaintext, options))
    attaching = sync_client_interceptors(source, target=target, unsafe_plaintext=unsafe_plaintext)
    return grpc.intercept_channel(channel, *interceptors, *attaching)


def _plaintext_options(target: str, unsafe_plaintext: bool, options: Options) -> list[tuple[str, object]]:
    if unsafe_plaintext:
        return list(options)
    require_local(target)
    return [*DIRECT, *options]
