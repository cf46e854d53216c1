"""`authsvc serve`: how it starts, what it answers, how it ends."""

import asyncio
import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authsvc.stores.embedded import EmbeddedValkey, free_port
from authsvc.v1 import admin_service_pb2, admin_service_pb2_grpc, auth_service_pb2_grpc
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts import processes
from tests.parts.postgres import Postgres
from tests.parts.service import PASSWORD, bearer

_LOGINS = 8


@pytest.fixture
def admin_key(settings: dict[str, str]) -> str:
    """Key of an administrator of the database in `settings`."""
    return _new_key(settings, "admin", "--permission", "admin")


@pytest.fixture
def web_key(settings: dict[str, str]) -> str:
    """Key of a client that may log users in."""
    return _new_key(settings, "web", "--permission", "login", "--audience", "orders")


def _new_key(settings: dict[str, str], *arguments: str) -> str:
    created = processes.run("client", "create", *arguments, "--offline", **processes.offline(settings))
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


def _add_user(channel: grpc.Channel, admin_key: str) -> None:
    request = admin_service_pb2.CreateUserRequest(username="alice", password=PASSWORD)
    admin_service_pb2_grpc.AdminServiceStub(channel).CreateUser(request, metadata=bearer(admin_key))


def _log_in(channel: grpc.Channel, web_key: str) -> pb.LoginResponse:
    request = pb.LoginRequest(username="alice", password=PASSWORD)
    stub = auth_service_pb2_grpc.AuthServiceStub(channel)
    return stub.Login(request, metadata=bearer(web_key), timeout=30)


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics") as response:
        text: str = response.read().decode()
        return text


def _logins_started(address: str) -> float:
    pattern = r'^grpc_server_started_total\{.*grpc_method="Login".*\} (\S+)$'
    return sum(float(found) for found in re.findall(pattern, _metrics(address), re.MULTILINE))


def test_a_server_answers_health_and_logins(settings: dict[str, str], admin_key: str, web_key: str) -> None:
    """A server started with settings alone takes calls over gRPC."""
    with processes.serve(**settings) as serving, grpc.insecure_channel(serving.address) as channel:
        _add_user(channel, admin_key)

        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        login = _log_in(channel, web_key)

        assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert login.session_token.startswith("ats_")
        assert login.tokens.audiences == ["orders"]


def test_logs_are_json_and_hold_no_secret(settings: dict[str, str], admin_key: str, web_key: str) -> None:
    """Every line that a server writes, from its start to its end, is JSON, and none holds a secret."""
    with processes.serve(**settings) as serving, grpc.insecure_channel(serving.address) as channel:
        _add_user(channel, admin_key)
        login = _log_in(channel, web_key)

        serving.terminate()
        serving.wait_for("stopped")

        secrets = [
            PASSWORD,
            processes.SECRET,
            admin_key,
            web_key,
            login.session_token,
            login.tokens.refresh_token,
            login.tokens.access_token,
            settings["CACHE_URL"].split("@")[0].removeprefix("redis://:"),
        ]
        events = [json.loads(line)["event"] for line in serving.lines]
        assert events[0] == "serving"
        assert not [secret for secret in secrets if any(secret in line for line in serving.lines)]


def test_sigterm_lets_calls_under_way_finish(settings: dict[str, str], admin_key: str, web_key: str) -> None:
    """A server that is asked to end answers every call it has accepted, and ends with status 0."""
    # One at a time: when the signal comes, the last of them still wait their turn.
    settings |= {"PASSWORD_SLOTS": "1", "METRICS_LISTEN": ":0"}
    with processes.serve(**settings) as serving, grpc.insecure_channel(serving.address) as channel:
        metrics = serving.wait_for("serving")["metrics"]
        _add_user(channel, admin_key)
        with ThreadPoolExecutor(_LOGINS) as pool:
            logins = [pool.submit(_log_in, channel, web_key) for _ in range(_LOGINS)]
            processes.until(lambda: _logins_started(metrics) == _LOGINS)

            status = serving.terminate()

            assert all(login.result().session_token for login in logins)
        assert status == 0


def test_metrics_are_on_loopback_alone_unless_told_otherwise(settings: dict[str, str]) -> None:
    """AUTHSVC_METRICS_LISTEN=:port shows metrics, under the usual names, on this machine only."""
    with processes.serve(**settings, METRICS_LISTEN=":0") as serving:
        address = serving.wait_for("serving")["metrics"]

        text = _metrics(address)

        assert address.startswith("127.0.0.1:")
        assert "grpc_server_started_total" in text
        assert "process_cpu_seconds_total" in text


def test_a_taken_metrics_port_is_said_clearly(settings: dict[str, str]) -> None:
    """A server that cannot show its metrics says so and ends."""
    with processes.serve(**settings, METRICS_LISTEN=":0") as serving:
        metrics = serving.wait_for("serving")["metrics"]

        second = processes.run("serve", **settings, METRICS_LISTEN=metrics)

        assert second.returncode == 1
        assert f"authsvc: cannot show metrics on {metrics}: Address already in use\n" in second.stderr


def test_a_second_server_on_the_same_port_is_refused(settings: dict[str, str]) -> None:
    """Two servers never share a port by accident: the second says so and ends."""
    with processes.serve(**settings) as serving:
        taken = serving.address

        second = processes.run("serve", **settings | {"LISTEN": taken})

        assert second.returncode == 1
        assert second.stderr == f"authsvc: cannot listen on {taken}: is it in use?\n"


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    """A server with bad settings names them all, repeats no secret, and ends with status 2."""
    secret = tmp_path / "secret_keys"
    secret.write_text("too-short-a-secret")
    bad = {
        "SECRET_KEYS_FILE": str(secret),
        "DATABASE_URL": "mysql://me:hidden-password@db/authsvc",
        "LISTEN": "0.0.0.0:50051",
        "SESSION_IDLE": "half an hour",
        "SESION_ABSOLUTE": "12h",
    }

    ended = processes.run("serve", **bad)

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == "authsvc: the settings cannot be used:"
    named = [
        line.removeprefix("  - AUTHSVC_").split()[0].strip(":") for line in ended.stderr.splitlines()[1:]
    ]
    assert sorted(named) == [
        "CACHE_URL",
        "DATABASE_URL",
        "ISSUER",
        "SECRET_KEYS_FILE",
        "SESION_ABSOLUTE",
        "SESSION_IDLE",
        "TLS_CERT_FILE",
    ]
    assert "hidden-password" not in ended.stderr
    assert "too-short-a-secret" not in ended.stderr


def test_an_old_schema_is_said_clearly(settings: dict[str, str], tmp_path: Path) -> None:
    """A server does not touch a database that lacks its schema: it says what to do, and ends."""
    ended = processes.run("serve", **settings | {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db"})

    assert ended.returncode == 1
    assert "run `authsvc migrate` first" in ended.stderr


def test_a_server_waits_for_its_database(settings: dict[str, str], own_postgres: Postgres) -> None:
    """A server started before its database says what it waits for, and serves as soon as it is there."""
    database = asyncio.run(own_postgres.empty_migrated())
    own_postgres.stop()
    with processes.serve(**settings | {"DATABASE_URL": own_postgres.url(database)}) as serving:
        waiting = serving.wait_for("waiting for the database")

        own_postgres.start()
        serving.wait_for("serving")

        assert waiting["cause"]
        assert serving.terminate() == 0


def test_a_waiting_server_can_be_ended(settings: dict[str, str]) -> None:
    """SIGTERM ends a server that never got as far as serving, too."""
    with processes.serve(**settings | {"DATABASE_URL": "postgresql://127.0.0.1:1/authsvc"}) as serving:
        serving.wait_for("waiting for the database")

        status = serving.terminate()

        assert status == 0


def test_a_server_starts_without_its_cache(settings: dict[str, str]) -> None:
    """The cache may be down: the server says so, and serves."""
    with processes.serve(**settings | {"CACHE_URL": f"redis://127.0.0.1:{free_port()}"}) as serving:
        serving.wait_for("serving")

        assert serving.wait_for(
            "the cache does not answer; sessions are read from the database until it does"
        )


def test_an_unknown_secret_is_said_clearly(
    settings: dict[str, str], tmp_path: Path, valkey: EmbeddedValkey
) -> None:
    """A server whose secrets do not open the stored signing key says which setting to mend, and ends."""
    with processes.serve(**settings) as serving:
        serving.wait_for("serving")
    Path(settings["SECRET_KEYS_FILE"]).write_text(
        "another secret of thirty-two bytes, at least".replace(" ", "-")
    )

    ended = processes.run("serve", **settings)

    assert ended.returncode == 1
    assert "AUTHSVC_SECRET_KEYS_FILE does not list" in ended.stderr
