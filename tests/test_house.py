"""How the code reads, as far as that can be counted."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsvc.rpc.admin_servicer import AdminServicer
from authsvc.rpc.auth_servicer import AuthServicer
from authsvc.rpc.ext_authz import AuthorizationServicer
from authsvc.rpc.policy import POLICY, methods

ROOT = Path(__file__).parent.parent
OURS = sorted(
    path
    for top in ("authsvc", "clients/python/authsvc_client")
    for path in (ROOT / top).rglob("*.py")
    if path.parent.name not in ("envoy", "v1")
)
FILE_MAX = 350
METHOD_MAX = 15
SERVICERS = {
    "authsvc.v1.AuthService": AuthServicer,
    "authsvc.v1.AdminService": AdminServicer,
    "envoy.service.auth.v3.Authorization": AuthorizationServicer,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Lines from `def` to the end."""
    return (function.end_lineno or 0) - function.lineno + 1


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path: Path) -> None:
    """A file is short, and says first what it owns."""
    text = path.read_text()

    assert text.count("\n") <= FILE_MAX
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_functions_are_short() -> None:
    """Half of all functions have at most ten lines, nine of ten at most thirty."""
    lengths = sorted(length(function) for path in OURS for function in functions(path))

    assert statistics.median(lengths) <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30


def test_servicers_only_translate() -> None:
    """A servicer's method has at most fifteen lines of its own."""
    long = [
        f"{path.name}:{function.name}"
        for path in OURS
        if path.name in ("auth_servicer.py", "admin_servicer.py")
        for function in functions(path)
        if len(function.body) > METHOD_MAX or length(function) > METHOD_MAX + 1
    ]

    assert long == []


@pytest.mark.parametrize("name", sorted(methods()))
def test_rpc_can_be_followed(name: str) -> None:
    """Each RPC has a policy row and a method of its own name, where a reader would look for it."""
    service, _, rpc = name.partition("/")

    assert name in POLICY
    assert callable(getattr(SERVICERS[service], rpc))


def test_no_vague_names() -> None:
    """No file is named for nothing in particular."""
    vague = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}

    assert [path for path in OURS if path.stem in vague] == []
