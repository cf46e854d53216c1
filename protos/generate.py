"""Turns `protos/` into the stubs in `authsvc/v1/`, the examples likewise, or tells whether they are current.

Owns which generators run and on what; their versions stand in `requirements.txt` beside it. Runs in the
environment made from that file and nowhere else: `make proto`, and `make check` with `--check`.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where each tree of `.proto` files is, where its packages begin, and the folder of its stubs below that.
TREES = (
    (ROOT / "protos", ROOT, Path("authsvc/v1")),
    (ROOT / "protos", ROOT, Path("authsvc/envoy")),
    (ROOT / "docs/examples/protos", ROOT / "docs/examples", Path("orders/v1")),
)
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 1 when `--check` finds a stub that the generators would write differently."""
    status = 0
    for protos, packages, stubs in TREES:
        with tempfile.TemporaryDirectory() as scratch:
            fresh = Path(scratch)
            generate(protos, fresh)
            if arguments == ["--check"]:
                status |= check(fresh / stubs, packages / stubs)
            else:
                install(fresh / stubs, packages / stubs)
    return status


def generate(protos: Path, into: Path) -> None:
    """Writes all stubs below `into`. A file without a service gets no (empty) gRPC stub."""
    messages = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    services = [name for name in messages if name.endswith("_service.proto")]
    protoc(protos, messages, f"--python_out={into}", f"--mypy_out=quiet:{into}")
    protoc(protos, services, f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}")


def protoc(protos: Path, files: list[str], *outputs: str) -> None:
    """One run of the compiler; its plugins are those beside this interpreter, whatever PATH says."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *outputs, *files]
    subprocess.run(command, check=True, env={**os.environ, "PATH": beside})


def install(fresh: Path, stubs: Path) -> None:
    """Puts the fresh stubs in place of the checked-in ones, and removes those of a `.proto` file that is gone."""
    for old in stubs_in(stubs) - stubs_in(fresh):
        (stubs / old).unlink()
    for new in stubs_in(fresh):
        (stubs / new).write_bytes((fresh / new).read_bytes())


def check(fresh: Path, stubs: Path) -> int:
    """Names every stub that is missing, left over or different."""
    names = sorted(stubs_in(fresh) | stubs_in(stubs))
    _, differing, absent = filecmp.cmpfiles(fresh, stubs, names, shallow=False)
    for name in sorted(differing + absent):
        print(
            f"not what the .proto files say, run make proto: {stubs.relative_to(ROOT) / name}",
            file=sys.stderr,
        )
    return 1 if differing or absent else 0


def stubs_in(folder: Path) -> set[str]:
    return {path.name for pattern in PATTERNS for path in folder.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
