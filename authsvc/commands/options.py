"""Owns the options that several commands share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Dev = Annotated[
    Path | None,
    typer.Option(
        "--dev",
        metavar="DIR",
        help="The server that `authsvc dev --data DIR` runs, instead of AUTHSVC_ADDRESS.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the contract names things.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
HashStdin = Annotated[
    bool,
    typer.Option(
        "--password-hash-stdin",
        help="Read, instead of a password, its argon2id hash from the first line of standard input.",
    ),
]
Scopes = Annotated[list[str] | None, typer.Option("--scope", metavar="SCOPE", help="May be repeated.")]
Audiences = Annotated[
    list[str] | None,
    typer.Option(
        "--audience", metavar="AUDIENCE", help="For whom its access tokens may be. May be repeated."
    ),
]
CertificateNames = Annotated[
    list[str] | None,
    typer.Option(
        "--certificate-name",
        metavar="NAME",
        help="URI or DNS name in a certificate that stands for a key. May be repeated.",
    ),
]
User = Annotated[str, typer.Argument(metavar="USER", help="Username, or id.")]
ClientId = Annotated[str, typer.Argument(metavar="CLIENT", help="Id of the client.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="PATH",
        help="Write the key there, readable by you alone, instead of printing it.",
    ),
]
