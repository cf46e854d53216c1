"""`authsvc key`, `explain` and `secrets`: signing keys and deployment secrets by command, tokens explained."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from authsvc.core.model import KeyState, SigningKey
from authsvc.stores.sql import open_stores
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from tests.commands.conftest import Deployment
from tests.parts import processes
from tests.parts.service import PASSWORD, bearer

NEW_SECRET = "f" * 48


def _run(deployment: Deployment, *arguments: str, stdin: str = "") -> Any:
    return processes.run(*arguments, stdin=stdin, **deployment.admin)


def _json(deployment: Deployment, *arguments: str, stdin: str = "") -> Any:
    ended = _run(deployment, *arguments, "--json", stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _keys(deployment: Deployment) -> dict[str, str]:
    """The id of the newest key of each state."""
    keys = _json(deployment, "key", "list")["keys"]
    return {key["state"].removeprefix("SIGNING_KEY_STATE_").lower(): key["key_id"] for key in reversed(keys)}


@pytest.fixture(scope="module")
def login(deployment: Deployment) -> Iterator[pb.LoginResponse]:
    """A session of a user."""
    key = _json(deployment, "client", "create", "web", "--permission", "login", "--audience", "orders")
    _json(deployment, "user", "create", "alice", "--password-stdin", stdin=PASSWORD)
    with grpc.insecure_channel(deployment.serving.address) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = pb.LoginRequest(username="alice", password=PASSWORD)
        yield stub.Login(request, metadata=bearer(key["client_key"]))


def test_explain(deployment: Deployment, login: pb.LoginResponse) -> None:
    """A token on standard input is explained; it is never shown again."""
    token = login.tokens.access_token

    good = _run(deployment, "explain", "--audience", "orders", stdin=token + "\n")
    bad = _run(deployment, "explain", "--audience", "billing", stdin=token)
    found = _json(deployment, "explain", stdin=login.session_token)

    assert (good.returncode, bad.returncode) == (0, 0)
    assert good.stdout.startswith("The token is good until 20")
    assert f"session: {login.session.id}\n" in good.stdout
    assert bad.stdout.startswith("It is for orders, and not for billing.\n")
    assert (found["active"], found["token_type"]) == (True, "session_token")
    assert token not in good.stdout + good.stderr + bad.stdout + bad.stderr


def test_explain_needs_a_token(deployment: Deployment) -> None:
    """Without a token on standard input there is nothing to explain; as an argument it is refused."""
    nothing = _run(deployment, "explain")
    argument = _run(deployment, "explain", "ats_secret")

    assert (nothing.returncode, argument.returncode) == (2, 2)
    assert "no token on standard input" in nothing.stderr


def test_a_key_from_rotation_to_taint(deployment: Deployment, login: pb.LoginResponse) -> None:
    """Keys are listed, the next is planned to sign, one is tainted, and then all."""
    before = _keys(deployment)
    rotated = _run(deployment, "key", "rotate")
    tainted = _json(deployment, "key", "taint", before["active"], "--comment", "a drill")
    again = _run(deployment, "key", "taint", before["active"])
    explained = _run(deployment, "explain", stdin=login.tokens.access_token)
    processes.until(lambda: "prepared" in _keys(deployment))
    after = _keys(deployment)
    everything = _json(deployment, "key", "taint", "--all")["keys"]
    processes.until(lambda: {"active", "prepared"} <= _keys(deployment).keys())
    listed = _run(deployment, "key", "list").stdout.splitlines()

    assert rotated.stderr.startswith(f"Key {before['prepared']} will sign from 20")
    assert tainted == {"keys": [{"key_id": before["active"], "revision": "1"}]}
    assert again.stderr == f"Key {before['active']} is tainted, at revision 1.\n"
    assert f"key {before['active']} was tainted at revision 1: a drill;" in explained.stdout
    assert after["active"] == before["prepared"]
    assert [key["key_id"] for key in everything] == [after["prepared"], after["active"]]
    states = {line.split("\t")[0]: line.split("\t")[2] for line in listed}
    assert [states[key] for key in (before["active"], after["active"], after["prepared"])] == ["tainted"] * 3
    assert sorted(states.values()) == ["active", "prepared", *["tainted"] * 3]


def test_taint_wants_one_or_all(deployment: Deployment) -> None:
    """A key, or all: not none, and not both."""
    ended = [_run(deployment, "key", "taint", *arguments) for arguments in ((), ("some", "--all"), ("some",))]

    assert [each.returncode for each in ended] == [2, 2, 1]
    assert "(NOT_FOUND)" in ended[2].stderr


def _stored(database_url: str) -> list[SigningKey]:
    async def read() -> list[SigningKey]:
        stores = open_stores(database_url)
        try:
            return list(await stores.keys.list())
        finally:
            await stores.close()

    return asyncio.run(read())


def test_reencrypt(settings: dict[str, str], tmp_path: Path) -> None:
    """After a new secret came first and what is sealed was moved to it, servers start without the old one; before
    that they refuse to, and say what to do."""
    with processes.serve(**settings) as serving:
        serving.wait_for("serving")
    keys = _stored(settings["DATABASE_URL"])
    secrets = Path(settings["SECRET_KEYS_FILE"])

    secrets.write_text(NEW_SECRET + "\n")
    with processes.serve(**settings) as refusing:
        too_early = refusing.process.wait(30)
    alone = processes.run("secrets", "reencrypt", **processes.offline(settings))
    secrets.write_text(NEW_SECRET + "\n" + processes.SECRET + "\n")
    moved = processes.run("secrets", "reencrypt", "--json", **processes.offline(settings))
    again = processes.run("secrets", "reencrypt", **processes.offline(settings))
    secrets.write_text(NEW_SECRET + "\n")
    with processes.serve(**settings) as serving:
        serving.wait_for("serving")

    assert {key.state for key in keys} == {KeyState.PREPARED, KeyState.ACTIVE}
    assert (too_early, alone.returncode) == (1, 1)
    assert "authsvc secrets reencrypt" in "".join(refusing.lines)
    assert "something was sealed under a secret that AUTHSVC_SECRET_KEYS_FILE does not list" in alone.stderr
    assert json.loads(moved.stdout) == {
        "signing_keys": {"sealed": 2, "moved": 2},
        "second_factors": {"sealed": 0, "moved": 0},
        "passwords": {"sealed": 0, "moved": 0},
    }
    assert again.stderr.splitlines() == [
        "Signing keys sealed: 2, of which 0 moved to the current secret.",
        "Secrets of second factors sealed: 0, of which 0 moved to the current secret.",
        "Password hashes sealed: 0, of which 0 moved to the current secret.",
    ]
    after = _stored(settings["DATABASE_URL"])
    assert {key.id for key in after} == {key.id for key in keys}
    assert {key.sealed_private[0] for key in after}.isdisjoint(key.sealed_private[0] for key in keys)
