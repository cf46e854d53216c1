"""Owns `authsvc health`: one question for container probes and scripts. Leaves the answer to `authsvc.rpc.health`.

Its exit statuses are its own: 0 serving, 1 not serving, 2 unreachable (or wrong settings).
"""

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authsvc.commands.connection import find, open_channel
from authsvc.commands.failure import CommandFailed
from authsvc.commands.options import Dev, Json
from authsvc.commands.output import print_json, print_line

_TIMEOUT_S = 2.0
_NOT_SERVING = 1
_UNREACHABLE = 2

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def health(dev: Dev = None, json: Json = False) -> None:
    """Say whether a server takes calls. Exit status 0: it does; 1: it does not; 2: it cannot be reached.

    Asks AUTHSVC_ADDRESS; without it, the server of this very environment, as a probe beside a server does. Needs no
    client key.
    """
    place = find(dev)
    with open_channel(place) as channel:
        status = _ask(channel, place.address)
    if json:
        print_json({"status": status})
    else:
        print_line(status)
    if status != "SERVING":
        raise typer.Exit(_NOT_SERVING)


def _ask(channel: grpc.Channel, address: str) -> str:
    request = health_pb2.HealthCheckRequest()
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        said = error.details()
        raise CommandFailed(f"no server answers at {address}: {said}", _UNREACHABLE) from None
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
