"""Owns Envoy before the echo, as `authsvc edge` configures it; with one of its routes nobody asks authsvc."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from authsvc.edge.asked import Edge, Endpoint, read_service
from authsvc.edge.bootstrap import bootstrap
from authsvc.edge.routes import ASK, PER_ROUTE
from benchmarks.echo import METHOD
from benchmarks.service import ISSUER

_START_TIMEOUT_S = 20.0
_LOCAL = "127.0.0.1"


def start(
    directory: Path, server: str, echo: str, client_key: str, asks: bool
) -> tuple["subprocess.Popen[bytes]", int]:
    """Start Envoy in front of the echo; return it and its port. Raises RuntimeError where there is none."""
    port = _free_port()
    key_file = directory / "edge_key"
    key_file.write_text(client_key)
    edge = Edge(
        listen=Endpoint(_LOCAL, port),
        certificate=None,
        server=Endpoint(_LOCAL, _port(server), http2=True),
        pages=None,
        key_file=key_file,
        origins=(ISSUER,),
        services=(read_service(f"{METHOD}=grpc://{echo};audience=orders", Path()),),
    )
    configuration = bootstrap(edge)
    if not asks:
        _open(configuration)
    file = directory / f"envoy_{port}.json"
    file.write_text(json.dumps(configuration))
    return _run(file, directory / f"envoy_{port}.log", port), port


def _open(configuration: dict[str, Any]) -> None:
    """Let everybody through to the echo, unasked."""
    [listener] = configuration["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route["typed_per_filter_config"][ASK] = {"@type": PER_ROUTE, "disabled": True}


def _run(file: Path, log: Path, port: int) -> "subprocess.Popen[bytes]":
    beside = Path(sys.executable).parent / "envoy"
    envoy = str(beside) if beside.exists() else shutil.which("envoy")
    if envoy is None:
        raise RuntimeError("there is no Envoy here")
    arguments = [
        envoy,
        "-c",
        str(file),
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--log-level",
        "error",
    ]
    with log.open("w") as to:
        running = subprocess.Popen(arguments, stdout=to, stderr=to)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _listens(port):
        if running.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Envoy does not start: {log.read_text()[-1000:]}")
        time.sleep(0.05)
    return running


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_LOCAL, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOCAL, 0))
        return int(probe.getsockname()[1])


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
