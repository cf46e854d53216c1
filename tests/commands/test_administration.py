"""`authsvc user`, `client`, `session`, `health`: each against a running server, as scripts use them."""

import json
from pathlib import Path
from typing import Any

import grpc
import pyotp
import pytest

from authsvc.stores.embedded import free_port
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from tests.commands.conftest import Deployment
from tests.parts import processes
from tests.parts.service import PASSWORD, bearer


def _json(deployment: Deployment, *arguments: str, stdin: str = "") -> Any:
    ended = processes.run(*arguments, "--json", stdin=stdin, **deployment.admin)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def _log_in(deployment: Deployment, client_key: str, username: str, password: str) -> pb.LoginResponse:
    with grpc.insecure_channel(deployment.serving.address) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = pb.LoginRequest(username=username, password=password)
        return stub.Login(request, metadata=bearer(client_key))


@pytest.fixture(scope="module")
def web_key(deployment: Deployment) -> str:
    """Key of a client that may log users in."""
    created = _json(deployment, "client", "create", "web", "--permission", "login", "--audience", "orders")
    return str(created["client_key"])


def test_a_user_from_creation_to_the_end(deployment: Deployment, web_key: str) -> None:
    """What is done to a user by command has the effect it says, and prints what the server answered."""
    user = ("user", "create", "alice", "--scope", "orders.read", "--password-stdin")
    created = _json(deployment, *user, stdin=PASSWORD + "\n")["user"]
    login = _log_in(deployment, web_key, "alice", PASSWORD)

    sessions = _json(deployment, "session", "list", "alice")["sessions"]
    changed = _json(deployment, "user", "set-password", "alice", "--password-stdin", stdin=PASSWORD[::-1])
    again = _log_in(deployment, web_key, "alice", PASSWORD[::-1])
    disabled = _json(deployment, "user", "disable", created["id"])
    enabled = _json(deployment, "user", "enable", "alice")
    users = _json(deployment, "user", "list")["users"]
    ended = _json(deployment, "session", "list", "alice", "--ended")["sessions"]

    assert created["scopes"] == ["orders.read"]
    assert [session["id"] for session in sessions] == [login.session.id]
    assert changed["revoked_count"] == disabled["revoked_count"] == 1
    assert disabled["user"]["disable_time"]
    assert enabled["user"] in users
    assert {session["id"] for session in ended} == {login.session.id, again.session.id}


def test_sessions_are_ended_one_by_one_or_together(deployment: Deployment, web_key: str) -> None:
    """`session revoke` ends one session by its id, or all of a user; ending twice is no error."""
    _json(deployment, "user", "create", "bob", "--password-stdin", stdin=PASSWORD)
    first, *_ = (_log_in(deployment, web_key, "bob", PASSWORD) for _ in range(3))

    one = _json(deployment, "session", "revoke", first.session.id, "--reason", "compromised")
    rest = _json(deployment, "session", "revoke", "--user", "bob")
    none = _json(deployment, "session", "revoke", first.session.id)

    assert [each["revoked_count"] for each in (one, rest, none)] == [1, 2, 0]
    ended = _json(deployment, "session", "list", "bob", "--ended")["sessions"]
    reasons = {session["id"]: session["revoke_reason"] for session in ended}
    assert reasons[first.session.id] == "REVOKE_REASON_COMPROMISED"


def test_a_client_from_creation_to_the_end(deployment: Deployment, tmp_path: Path) -> None:
    """A client is registered, given another key, listed and revoked; its newest key is in the file, for us alone."""
    key_file = tmp_path / "gateway.key"
    create = ("client", "create", "gateway", "--permission", "introspect", "--display-name", "The gateway")

    created = _json(deployment, *create, "--key-file", str(key_file))
    first = key_file.read_text()
    rotated = _json(
        deployment, "client", "rotate-key", "gateway", "--overlap", "1h", "--key-file", str(key_file)
    )
    revoked = _json(deployment, "client", "revoke", "gateway")
    clients = _json(deployment, "client", "list")["clients"]

    assert created["client"]["permissions"] == ["PERMISSION_INTROSPECT"]
    assert created["client_key"] == rotated["client_key"] == ""
    assert first.startswith("atc_")
    assert key_file.read_text().startswith("atc_")
    assert key_file.read_text() != first
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [key_file]
    assert revoked["client"] in clients


def test_a_clients_registration_is_changed(deployment: Deployment) -> None:
    """`client update` replaces what is given, clears what it is told to, and leaves the rest."""
    names = ("--certificate-name", "spiffe://shop/stock", "--without-key")
    lists = ("--audience", "stock", "--audience", "orders", "--scope", "stock.read")
    created = _json(deployment, "client", "create", "stock", "--permission", "login", *lists, *names)
    kinds = ("--permission", "login", "--permission", "introspect")

    narrowed = _json(deployment, "client", "update", "stock", "--audience", "stock", *kinds)["client"]
    cleared = _json(deployment, "client", "update", "stock", "--clear", "scopes", "--display-name", "Stock")
    refused = processes.run(
        *("client", "update", "stock", "--clear", "scopes", "--scope", "x"), **deployment.admin
    )
    nothing = processes.run("client", "update", "stock", **deployment.admin)

    assert created["client_key"] == ""
    assert narrowed["audiences"] == ["stock"]
    assert narrowed["permissions"] == ["PERMISSION_LOGIN", "PERMISSION_INTROSPECT"]
    assert cleared["client"]["scopes"] == []
    assert cleared["client"]["display_name"] == "Stock"
    assert cleared["client"]["certificate_names"] == ["spiffe://shop/stock"]
    assert (refused.returncode, nothing.returncode) == (2, 1)


def test_a_users_scopes_are_changed(deployment: Deployment, web_key: str) -> None:
    """`user set-scopes` replaces the scopes, and ends sessions only if one is taken away."""
    user = ("user", "create", "dora", "--scope", "a", "--password-stdin")
    _json(deployment, *user, stdin=PASSWORD)
    _log_in(deployment, web_key, "dora", PASSWORD)

    more = _json(deployment, "user", "set-scopes", "dora", "--scope", "a", "--scope", "b")
    fewer = _json(deployment, "user", "set-scopes", "dora", "--scope", "b")

    assert (more["revoked_count"], fewer["revoked_count"]) == (0, 1)
    assert fewer["user"]["scopes"] == ["b"]


def test_answers_are_alone_on_standard_output(deployment: Deployment) -> None:
    """Without --json, too, standard output holds the answer alone: a key, an id, rows separated by tabs."""
    client = processes.run("client", "create", "cron", "--permission", "introspect", **deployment.admin)
    user = processes.run("user", "create", "carol", "--password-stdin", stdin=PASSWORD, **deployment.admin)
    users = processes.run("user", "list", **deployment.admin)

    assert client.stdout.startswith("atc_")
    assert client.stdout.count("\n") == user.stdout.count("\n") == 1
    assert ["carol", user.stdout.strip()] in [line.split("\t")[:2] for line in users.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "stdin", "field", "reason"),
    [
        (("user", "create", "dave", "--password-stdin"), "too short", "password: ", "PASSWORD_TOO_WEAK"),
        (("client", "create", "No!", "--permission", "admin"), "", "client_id: ", "INVALID_REQUEST"),
        (("user", "disable", "nobody"), "", "", "NOT_FOUND"),
        (("client", "create", "admin", "--permission", "admin"), "", "", "CLIENT_ID_TAKEN"),
    ],
)
def test_a_refusal_is_one_sentence_with_its_reason(
    deployment: Deployment, arguments: tuple[str, ...], stdin: str, field: str, reason: str
) -> None:
    """What the server refuses ends with status 1, its sentence, the field it is about, and the reason."""
    ended = processes.run(*arguments, stdin=stdin, **deployment.admin)

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("authsvc: ")
    assert field in ended.stderr
    assert ended.stderr.endswith(f" ({reason})\n")


def test_an_existing_file_is_not_overwritten(deployment: Deployment, tmp_path: Path) -> None:
    """Before a client is registered it is certain that its key can be kept."""
    key_file = tmp_path / "other.key"
    key_file.write_text("another's key")
    create = ("client", "create", "late", "--permission", "admin", "--key-file")

    exists = processes.run(*create, str(key_file), **deployment.admin)
    nowhere = processes.run(*create, str(tmp_path / "nowhere" / "key"), **deployment.admin)

    assert (exists.returncode, nowhere.returncode) == (2, 2)
    assert key_file.read_text() == "another's key"
    assert "late" not in {client["id"] for client in _json(deployment, "client", "list")["clients"]}


def test_who_may_not_administer_is_told_so(deployment: Deployment, web_key: str) -> None:
    """A missing key, a wrong one and one without `admin` are three different mistakes."""
    given = {"ADDRESS": deployment.serving.address, "PLAINTEXT": "true"}

    missing = processes.run("user", "list", **given)
    wrong = processes.run("user", "list", **given, CLIENT_KEY="atc_" + "x" * 60)
    other = processes.run("user", "list", **given, CLIENT_KEY=web_key)

    assert (missing.returncode, wrong.returncode, other.returncode) == (2, 1, 1)
    assert "AUTHSVC_CLIENT_KEY_FILE is missing" in missing.stderr
    assert "(CALLER_UNAUTHENTICATED)" in wrong.stderr
    assert "(CALLER_NOT_PERMITTED)" in other.stderr
    assert web_key not in other.stderr


def test_a_key_never_leaves_this_machine_in_the_clear(deployment: Deployment) -> None:
    """Plaintext to another machine is refused before anything is sent; to this one it must be asked for."""
    elsewhere = processes.run("user", "list", **deployment.admin | {"ADDRESS": "auth.example.com:50051"})
    not_asked = processes.run("user", "list", **deployment.admin | {"PLAINTEXT": "false"})

    assert (elsewhere.returncode, not_asked.returncode) == (2, 3)
    assert "plaintext needs an AUTHSVC_ADDRESS on loopback" in elsewhere.stderr
    assert f"no server answers at {deployment.serving.address}" in not_asked.stderr


def test_nobody_there_has_a_status_of_its_own(deployment: Deployment) -> None:
    """A server that cannot be reached is status 3: nothing is known, try again."""
    address = f"127.0.0.1:{free_port()}"

    ended = processes.run("user", "list", **deployment.admin | {"ADDRESS": address})

    assert ended.returncode == 3
    assert ended.stderr.startswith(f"authsvc: no server answers at {address}: ")
    assert ended.stderr.count("\n") == 1


def test_health_has_three_answers(deployment: Deployment) -> None:
    """`health` needs no key, and tells serving from unreachable by its status alone."""
    given = {"ADDRESS": deployment.serving.address, "PLAINTEXT": "true"}

    serving = processes.run("health", "--json", **given)
    unreachable = processes.run("health", **given | {"ADDRESS": f"127.0.0.1:{free_port()}"})

    assert (serving.returncode, json.loads(serving.stdout)) == (0, {"status": "SERVING"})
    assert unreachable.returncode == 2


def test_a_development_directory_is_enough(deployment: Deployment, tmp_path: Path) -> None:
    """--dev DIR takes address and key from DIR/dev.json; without that file it says what is missing."""
    key = Path(deployment.admin["CLIENT_KEY_FILE"]).read_text().strip()
    dev = {"address": deployment.serving.address, "admin_key": key}
    (tmp_path / "dev.json").write_text(json.dumps(dev))

    health = processes.run("health", "--dev", str(tmp_path))
    clients = processes.run("client", "list", "--json", "--dev", str(tmp_path))
    nothing = processes.run("client", "list", "--dev", str(tmp_path / "nowhere"))

    assert (health.returncode, clients.returncode, nothing.returncode) == (0, 0, 2)
    assert "admin" in {client["id"] for client in json.loads(clients.stdout)["clients"]}
    assert "is `authsvc dev` running there?" in nothing.stderr


def test_second_factor_reset(deployment: Deployment, web_key: str) -> None:
    """Who has lost the second factor logs in by password again; who has none is no error."""
    created = _json(deployment, "user", "create", "oscar", "--password-stdin", stdin=PASSWORD + "\n")["user"]
    own = bearer(_log_in(deployment, web_key, "oscar", PASSWORD).session_token)
    with grpc.insecure_channel(deployment.serving.address) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        enrolled = stub.EnrollTotp(pb.EnrollTotpRequest(password=PASSWORD), metadata=own)
        code = pyotp.TOTP(enrolled.secret).now()
        stub.ConfirmTotp(pb.ConfirmTotpRequest(one_time_code=code), metadata=own)
    challenged = _log_in(deployment, web_key, "oscar", PASSWORD)

    reset = _json(deployment, "user", "reset-second-factor", "oscar")
    again = processes.run("user", "reset-second-factor", created["id"], **deployment.admin)

    assert challenged.challenge.challenge_token
    assert reset == {"had_second_factor": True}
    assert again.stderr == f"{created['id']} has no second factor.\n"
    assert _log_in(deployment, web_key, "oscar", PASSWORD).session_token
