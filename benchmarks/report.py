"""Owns what a run leaves behind: the table on the terminal, `results/latest.json` and `results/latest.png`."""

import json
import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import grpc
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row
from benchmarks.samples import Result

RESULTS = Path(__file__).parent / "results"
# Numbers of a few rows only, told below the table; `latest.json` has all.
_ALSO = (
    "against_unary",
    "max_ms",
    "revoke_p50_ms",
    "revoke_p99_ms",
    "server_cpu_percent",
    "bytes_per_entry",
    "cold_load_s",
    "cold_load_cpu_s",
    "server_bytes_per_entry",
    "server_start_s",
    "speed_up",
    "speed_up_at_most",
    "goodput_share",
    "p99_against_normal",
    "refused_p99_ms",
    "session_bytes",
    "cached_session_bytes",
)


def print_table(rows: Sequence[Row], results: Sequence[Result], to: Console) -> None:
    """Print one line per row."""
    about = {row.name: row.about for row in rows}
    table = Table(
        "row", "what", title=f"{_machine()['cpu']}, {_machine()['cores']} cores", title_justify="left"
    )
    for heading in ("CPU µs", "× echo", "per second", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for each in results:
        sample = each.sample
        table.add_row(
            each.name,
            about[each.name],
            _short(sample.cpu_us),
            _short(each.ratio),
            f"{sample.rate:,.0f}",
            _short(sample.p50_ms),
            _short(sample.p99_ms),
        )
    to.print(table)
    for each in results:
        if found := [
            f"{name} {_short(each.sample.more[name])}" for name in _ALSO if name in each.sample.more
        ]:
            to.print(f"{each.name}: {', '.join(found)}")


def write_json(results: Sequence[Result], directory: Path = RESULTS) -> Path:
    """Write the numbers, and those that found no place in the table."""
    directory.mkdir(exist_ok=True)
    path = directory / "latest.json"
    content = {"machine": _machine(), "rows": [_as_json(each) for each in results]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def write_png(results: Sequence[Result], directory: Path = RESULTS) -> Path:
    """Draw CPU per call, or per token, as multiples of the echo."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [each for each in reversed(results) if math.isfinite(each.ratio)]
    figure, axes = plt.subplots(figsize=(9, 0.6 + 0.36 * len(shown)), layout="constrained")
    colours = ["#888888" if each.name == "echo" else "#2f6fab" for each in shown]
    bars = axes.barh([each.name for each in shown], [each.ratio for each in shown], color=colours)
    labels = [f" {_short(each.ratio)} ×  ({_short(each.sample.cpu_us)} µs)" for each in shown]
    axes.bar_label(bars, labels, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.axvline(1, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_xlabel("server CPU per call (per token for batches), as a multiple of a bare gRPC echo's")
    axes.spines[["top", "right"]].set_visible(False)
    path = directory / "latest.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _as_json(result: Result) -> dict[str, object]:
    sample = result.sample
    numbers = {
        "cpu_us": sample.cpu_us,
        "rate": sample.rate,
        "p50_ms": sample.p50_ms,
        "p99_ms": sample.p99_ms,
        "ratio": result.ratio,
        **sample.more,
    }
    return {"name": result.name, **{name: _rounded(value) for name, value in numbers.items()}}


def _machine() -> dict[str, object]:
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _rounded(value: float) -> float | None:
    """Four digits are more than a measurement is good for; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
