"""Owns how answers look: JSON for scripts, tables on a terminal, tab-separated lines in a pipe."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 10_000


def plain(message: Message) -> dict[str, Any]:
    """Return a message in the standard JSON form, under the names of the contract and with nothing left out."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def print_json(value: object) -> None:
    """Print one JSON value."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_line(text: str) -> None:
    """Print the answer, where it is one text."""
    sys.stdout.write(printable(text) + "\n")


def say(sentence: str) -> None:
    """Tell people what happened. On standard error, so that standard output holds the answer alone."""
    sys.stderr.write(printable(sentence) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: under headings on a terminal, else separated by tabs, without headings."""
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(map(printable, row)) + "\n" for row in rows)
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    natural = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    # The terminal wraps a long line; an id cut short would be no id.
    Console(width=max(console.width, natural), height=console.height).print(table)


def moment(time: Timestamp, is_set: bool = True) -> str:
    """Return a time in UTC, to the second; a dash where there is none."""
    return time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ") if is_set else "-"


def printable(text: str) -> str:
    """Return the text without anything that could steer a terminal: others wrote it."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
