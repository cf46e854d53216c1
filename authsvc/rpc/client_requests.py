"""Owns reading what requests say of a client to register or to change. Leaves the rules to `core.clients`."""

from authsvc.core.clients import NewClient
from authsvc.rpc import requests
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources


def new_client(request: pb.CreateClientRequest) -> NewClient:
    """Return the client to register. Raises InvalidRequest."""
    return _client(request.client_id, request, with_key=not request.without_key)


def changed_client(request: pb.UpdateClientRequest) -> NewClient:
    """Return the client with its new values. Raises InvalidRequest."""
    return _client(requests.named("client.id", request.client.id), request.client)


def _client(
    client_id: str, said: pb.CreateClientRequest | resources.Client, with_key: bool = True
) -> NewClient:
    return NewClient(
        client_id,
        requests.plain("display_name", said.display_name),
        requests.permissions(said.permissions),
        said.audiences,
        said.scopes,
        said.certificate_names,
        with_key,
    )
