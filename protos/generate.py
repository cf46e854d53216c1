"""Turns `protos/` into the Python stubs in `authsvc/v1/`, or tells whether they are current.

Owns which generators run and on what; their versions stand in `requirements.txt` beside it. Runs in the
environment made from that file and nowhere else: `make proto`, and `make check` with `--check`.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
STUBS = Path("authsvc/v1")
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 1 when `--check` finds a stub that the generators would write differently."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        if arguments == ["--check"]:
            return check(fresh / STUBS)
        install(fresh / STUBS)
    return 0


def generate(into: Path) -> None:
    """Writes all stubs below `into`. A file without a service gets no (empty) gRPC stub."""
    messages = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [name for name in messages if name.endswith("_service.proto")]
    protoc(messages, f"--python_out={into}", f"--mypy_out=quiet:{into}")
    protoc(services, f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}")


def protoc(files: list[str], *outputs: str) -> None:
    """One run of the compiler; its plugins are those beside this interpreter, whatever PATH says."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *outputs, *files]
    subprocess.run(command, check=True, env={**os.environ, "PATH": beside})


def install(fresh: Path) -> None:
    """Puts the fresh stubs in place of the checked-in ones, and removes those of a `.proto` file that is gone."""
    for old in stubs_in(ROOT / STUBS) - stubs_in(fresh):
        (ROOT / STUBS / old).unlink()
    for new in stubs_in(fresh):
        (ROOT / STUBS / new).write_bytes((fresh / new).read_bytes())


def check(fresh: Path) -> int:
    """Names every stub that is missing, left over or different."""
    names = sorted(stubs_in(fresh) | stubs_in(ROOT / STUBS))
    _, differing, absent = filecmp.cmpfiles(fresh, ROOT / STUBS, names, shallow=False)
    for name in sorted(differing + absent):
        print(f"not what protos/ says, run make proto: {STUBS / name}", file=sys.stderr)
    return 1 if differing or absent else 0


def stubs_in(folder: Path) -> set[str]:
    return {path.name for pattern in PATTERNS for path in folder.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
