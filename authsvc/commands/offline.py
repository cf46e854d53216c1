"""Owns administration without a server: straight on the database, with the deployment's secrets.

For the first client with `admin`, which nobody could register otherwise. Running servers hear of it within a second,
as of any change. Leaves the rules to `authsvc.core`: they are the ones a server applies.
"""

import asyncio
import os

from authsvc import logs
from authsvc.commands import refusal
from authsvc.commands.connection import read
from authsvc.commands.schema import check_schema
from authsvc.config import read_offline_settings
from authsvc.core.callers import Caller, ClientRegistry
from authsvc.core.clients import Clients, NewClient
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.errors import Refusal
from authsvc.core.model import Client, Device
from authsvc.core.operation import Asked
from authsvc.core.tokens import TokenMint
from authsvc.outside import wall_clock
from authsvc.rpc import client_requests
from authsvc.rpc.convert import client_message
from authsvc.settings import OfflineSettings
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.valkey.none import NoHints
from authsvc.v1.admin_service_pb2 import CreateClientRequest, CreateClientResponse

# In the audit log. No client can have this id: it holds a space.
_ACTOR = "offline command"


def create_client(request: CreateClientRequest) -> CreateClientResponse:
    """Register a client in the database of the settings. Raises CommandFailed."""
    logs.configure_for_terminal()
    settings = read(read_offline_settings)
    try:
        new = client_requests.new_client(request)
        client, key = asyncio.run(_create_client(settings, new))
    except (Refusal, StoreUnavailable) as error:
        raise refusal.of_rule(error) from None
    return CreateClientResponse(client=client_message(client), client_key=key)


async def _create_client(settings: OfflineSettings, new: NewClient) -> tuple[Client, str]:
    database_url = settings.database_url.get_secret_value()
    await check_schema(database_url)
    stores = open_stores(database_url, pool_size=2)
    try:
        asked = Asked(Caller(client_id=_ACTOR), Device(), wait_ms=0)
        return await _clients(stores, settings).create(new, asked)
    finally:
        await stores.close()


def _clients(stores: SqlStores, settings: OfflineSettings) -> Clients:
    return Clients(
        store=stores.clients,
        registry=ClientRegistry(stores.clients, wall_clock),
        hints=NoHints(),
        mint=TokenMint(settings.secrets, os.urandom),
        clock=wall_clock,
    )
