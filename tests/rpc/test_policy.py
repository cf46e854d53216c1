"""What must be in place before a server starts at all."""

import dataclasses

import grpc.aio
import pytest

from authsvc.core import errors as refusals
from authsvc.core.errors import Refusal
from authsvc.rpc.errors import TABLE, Statuses
from authsvc.rpc.interceptors import Errors
from authsvc.rpc.policy import POLICY, PolicyIncomplete, check_policy, methods
from authsvc.rpc.transport import MethodMissing, add_servicers
from authsvc.v1.errors_pb2 import ErrorReason

# Not refusals of this version's rules: an RPC succeeded, a verifier's own, or a defect.
_NEVER_RAISED = {"ERROR_REASON_UNSPECIFIED", "INTERNAL", "NOT_IMPLEMENTED"}


class Complete:
    """A servicer that has every method there is."""

    def __getattr__(self, name: str) -> object:
        return lambda request, call: None


class Lacking(Complete):
    """A servicer without one method."""

    def __getattr__(self, name: str) -> object:
        if name == "Refresh":
            raise AttributeError(name)
        return super().__getattr__(name)


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_rpc_has_a_row(name: str) -> None:
    """An RPC without a policy row refuses to start, and the refusal names it."""
    without = {row: POLICY[row] for row in POLICY if row != name}

    with pytest.raises(PolicyIncomplete, match=name):
        check_policy(without)


def test_every_row_has_an_rpc() -> None:
    """A policy row without an RPC, a typing mistake perhaps, refuses to start."""
    stray = {**POLICY, "authsvc.v1.AuthService/Logn": POLICY["authsvc.v1.AuthService/Login"]}

    with pytest.raises(PolicyIncomplete, match="Logn"):
        check_policy(stray)


async def test_every_rpc_has_a_method() -> None:
    """A servicer without a method of its service refuses to start, and the refusal names it."""
    errors = Errors(Statuses("example.com"))
    servicers: dict[str, object] = {
        "authsvc.v1.AuthService": Lacking(),
        "authsvc.v1.AdminService": Complete(),
    }

    with pytest.raises(MethodMissing, match=r"AuthService/Refresh"):
        add_servicers(grpc.aio.server(), servicers, [], errors)


def test_policy_rows_are_of_rows() -> None:
    """Whoever writes to a store runs to the end, whatever becomes of its caller."""
    writing = {name.partition("/")[2] for name, row in POLICY.items() if row.writes}

    assert {"Login", "Refresh", "Revoke"} < writing
    assert not {
        name for name in writing if name.startswith(("Get", "List", "Validate", "Introspect", "Watch"))
    }


def test_every_refusal_has_a_status() -> None:
    """Every way in which the rules refuse is in the one table, so none ends as an incident."""
    kinds = {kind for kind in vars(refusals).values() if isinstance(kind, type) and issubclass(kind, Refusal)}

    assert kinds - {Refusal} <= set(TABLE)


def test_every_reason_is_used() -> None:
    """Each reason of the contract belongs to something that can happen."""
    used = {ErrorReason.Name(reason) for _, reason in TABLE.values()}

    assert set(ErrorReason.keys()) - used == _NEVER_RAISED


def test_rows_do_not_change() -> None:
    """A policy row cannot be changed while the server runs."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        POLICY["authsvc.v1.AuthService/Login"].writes = False  # type: ignore[misc]
