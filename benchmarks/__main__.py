"""Owns the command: `python -m benchmarks [--only NAME,NAME]`. Leaves measuring to `measure`."""

import argparse
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import capacity, report
from benchmarks.measure import measure, steps
from benchmarks.rows import ECHO, ROWS, Row
from benchmarks.samples import Result
from benchmarks.stage import Failed, Stage


def main() -> int:
    """Measure, print, write. The exit status is 1 if a call failed."""
    rows = _chosen()
    console = Console()
    try:
        results = _measured(rows, console)
    except Failed as failed:
        console.print(f"[red]{failed}[/red]")
        return 1
    report.print_table(rows, results, console)
    console.print(f"written: {report.write_json(results)}, {report.write_png(results)}", soft_wrap=True)
    if len(rows) == len(ROWS):
        capacity.write()
        console.print(f"written: {capacity.DOCUMENT}", soft_wrap=True)
    return 0


def _chosen() -> list[Row]:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="What calls cost, against a bare gRPC echo."
    )
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of: {', '.join(names)}")
    only = {name for name in parser.parse_args().only.split(",") if name}
    if only - set(names):
        parser.error(f"no such row: {', '.join(sorted(only - set(names)))}")
    return [row for row in ROWS if not only or row is ECHO or row.name in only]


def _measured(rows: list[Row], console: Console) -> list[Result]:
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar, Stage() as stage:
        task = bar.add_task("starting", total=steps(rows))

        def progress(about: str) -> None:
            bar.update(task, description=about, advance=1)
            if not console.is_terminal:
                console.print(about)

        return measure(rows, stage, progress)


if __name__ == "__main__":
    sys.exit(main())
