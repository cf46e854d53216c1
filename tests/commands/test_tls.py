"""TLS, from the server's certificate to the commands that trust it, or do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import processes
from tests.parts.authority import Authority, dns, uri

_NAME = "auth.example.com"


@pytest.fixture
def tls(settings: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """`settings`, with a certificate and without plaintext."""
    authority = Authority()
    authority.write(tmp_path)
    cert_file, key_file = authority.sign(dns(_NAME)).write(tmp_path)
    del settings["PLAINTEXT"]
    return settings | {"TLS_CERT_FILE": str(cert_file), "TLS_KEY_FILE": str(key_file)}


@pytest.fixture
def address(tls: dict[str, str]) -> Iterator[str]:
    """Where a server with these settings listens."""
    with processes.serve(**tls) as serving:
        yield serving.address


def test_a_probe_beside_the_server_needs_no_settings_of_its_own(tls: dict[str, str], address: str) -> None:
    """In the environment of a server, `health` finds and trusts that server, whatever name its certificate has."""
    ended = processes.run("health", **tls | {"LISTEN": address})

    assert (ended.returncode, ended.stdout) == (0, "SERVING\n"), ended.stderr


def test_a_probe_trusts_no_other_server(tls: dict[str, str], address: str, tmp_path: Path) -> None:
    """A server with another certificate at that address is none that the probe believes."""
    other, _ = Authority().sign(dns(_NAME)).write(tmp_path, "other")

    ended = processes.run("health", LISTEN=address, TLS_CERT_FILE=str(other))

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_an_authority_of_ones_own_is_trusted_for_the_names_it_signs(
    tls: dict[str, str], address: str, tmp_path: Path
) -> None:
    """With AUTHSVC_TLS_CA_FILE the certificate must be of that authority, and for the name that is called."""
    ended = processes.run("health", ADDRESS=address, TLS_CA_FILE=str(tmp_path / "ca.pem"))

    assert ended.returncode == 2  # it is called by its number, and the certificate has only a name
    assert "127.0.0.1" in ended.stderr


def test_a_certificate_and_a_strange_key_are_refused(tls: dict[str, str], tmp_path: Path) -> None:
    """A server with a certificate and a key that do not belong together does not start."""
    _, other = Authority().sign(dns(_NAME)).write(tmp_path, "other")

    ended = processes.run("serve", **tls | {"TLS_KEY_FILE": str(other)})

    assert ended.returncode == 2
    assert "is not that of the first certificate in" in ended.stderr


def test_a_certificate_administers(tls: dict[str, str], tmp_path: Path) -> None:
    """Where everybody must have a certificate, commands call with theirs, and need no key if it names a client."""
    clients = Authority("Clients")
    tls["TLS_CLIENT_CA_FILE"] = str(clients.write(tmp_path, "clients"))
    name = ("--certificate-name", "spiffe://shop/ops", "--without-key")
    created = processes.run(
        *("client", "create", "ops", "--permission", "admin", *name, "--offline", "--json"),
        **processes.offline(tls),
    )
    cert_file, key_file = clients.sign(uri("spiffe://shop/ops")).write(tmp_path, "ops")
    own = {"TLS_CLIENT_CERT_FILE": str(cert_file), "TLS_CLIENT_KEY_FILE": str(key_file)}
    with processes.serve(**tls) as serving:
        here = {"LISTEN": serving.address, "TLS_CERT_FILE": tls["TLS_CERT_FILE"]}

        listed = processes.run("client", "list", **here, **own)
        probed = processes.run("health", **here, **own)
        without = processes.run("health", **here)

    assert created.returncode == 0, created.stderr
    assert listed.stdout.splitlines()[-1].split("\t")[:2] == ["ops", "admin"], listed.stderr
    assert probed.stdout == "SERVING\n", probed.stderr
    assert without.returncode == 2


def test_a_new_certificate_is_taken_up_by_a_running_server(tls: dict[str, str], tmp_path: Path) -> None:
    """Whoever trusts the new certificate alone gets to a running server within seconds of its being there."""
    with processes.serve(**tls) as serving:
        address = serving.address

        Authority("Another").sign(dns(_NAME)).write(tmp_path)
        serving.wait_for("new TLS certificate in force")
        ended = processes.run("health", LISTEN=address, TLS_CERT_FILE=tls["TLS_CERT_FILE"])

    assert ended.stdout == "SERVING\n", ended.stderr
