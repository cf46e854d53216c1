"""How answers look."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest

from authsvc.commands.output import print_line, print_table

Shown = Callable[[Callable[[], None]], str]

_ID = "0199b1c4-1111-7222-8333-444455556666"


class _Screen(io.StringIO):
    """What a terminal shows."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """A function that returns what is shown on a terminal of 80 columns, without colours, by what prints it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def shown(printing: Callable[[], None]) -> str:
        with redirect_stdout(_Screen()) as screen:
            printing()
        return screen.getvalue()

    return shown


def test_a_table_cuts_nothing_short(shown: Shown) -> None:
    """However narrow the terminal, an id can be copied from it."""
    text = shown(lambda: print_table(("id", "other", "device"), [(_ID, _ID, "x" * 60)]))

    heading, row = text.splitlines()
    assert heading.split() == ["id", "other", "device"]
    assert row.split() == [_ID, _ID, "x" * 60]


def test_a_pipe_gets_rows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there are no headings and no padding, and one tab between two cells."""
    print_table(("id", "name"), [("1", "one"), ("2", "")])

    assert capsys.readouterr().out == "1\tone\n2\t\n"


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\x07", "a\tb\nc", "\u202e"])
def test_what_others_wrote_steers_no_terminal(shown: Shown, text: str) -> None:
    """Names and user agents are shown without the characters that a terminal, or a reader of rows, would obey."""
    table = shown(lambda: print_table(("name",), [(text,)]))
    line = shown(lambda: print_line(text))

    assert not set(table + line) & set("\x1b\x9b\x07\t\u202e")
    assert (table.count("\n"), line.count("\n")) == (2, 1)


def test_markup_is_shown_as_it_is(shown: Shown) -> None:
    """What looks like our own markup is a name like any other."""
    text = shown(lambda: print_table(("name",), [("[red]me[/red]",)]))

    assert "[red]me[/red]" in text
