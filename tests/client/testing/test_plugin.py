"""What installing authsvc does to other people's pytest: fixtures when asked for, and otherwise nothing."""

import subprocess
import sys
from pathlib import Path

HEAVY = (
    "grpc",
    "google",
    "cryptography",
    "jwt",
    "sqlalchemy",
    "redis",
    "pydantic",
    "django",
    "fastapi",
    "starlette",
)
SERVER_ONLY = (
    "sqlalchemy",
    "alembic",
    "redis",
    "hiredis",
    "pydantic",
    "argon2",
    "structlog",
    "typer",
    "authsvc.core",
)

USERS_TESTS = """
import pytest
from authsvc_client.strict import TokenExpired, TokenRevoked


@pytest.fixture
def authsvc_audience():
    return "billing"


def test_minting_needs_no_server(authsvc_minter, authsvc_verifier, authsvc_clock):
    token = authsvc_minter.mint("user-1", scopes=["bills.read"])

    assert authsvc_verifier.verify(token).subject == "user-1"
    assert authsvc_verifier.audience == "billing"
    authsvc_clock.move(400_000)
    with pytest.raises(TokenExpired):
        authsvc_verifier.verify(token)


def test_a_whole_authsvc(authsvc_server):
    login = authsvc_server.log_in("alice", scopes=["bills.read"])

    assert authsvc_server.address.startswith("127.0.0.1:")
    assert list(login.tokens.audiences) == ["billing"]
"""


def run(*arguments: str) -> str:
    """Run Python; return what it printed. An exit status other than 0 fails the test."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_loads_nothing_until_it_is_asked() -> None:
    """Importing the plugin, as pytest does at every start, loads no transport, no cryptography and no framework."""
    loaded = run("-c", "import authsvc_client.testing.plugin, sys; print(*sys.modules, sep='\\n')").split()

    assert not {name for name in loaded if name.split(".")[0] in HEAVY}


def test_the_fake_lives_on_core_dependencies() -> None:
    """Minting, verifying and a whole login against the authsvc for tests load nothing that only the server needs."""
    script = """
import sys
from authsvc_client.testing import FakeAuthService, TokenMinter
minter = TokenMinter()
minter.verifier().verify(minter.mint())
with FakeAuthService() as server:
    server.log_in("alice")
print(*sys.modules, sep="\\n")
"""

    loaded = run("-c", script).split()

    assert not {
        name for name in loaded for heavy in SERVER_ONLY if name == heavy or name.startswith(f"{heavy}.")
    }


def test_users_find_the_fixtures(tmp_path: Path) -> None:
    """A test of somebody else's project uses the fixtures without importing anything, and overrides the audience."""
    (tmp_path / "test_theirs.py").write_text(USERS_TESTS)
    flags = [
        "-q",
        "-W",
        "error",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        "-c",
        "/dev/null",
    ]

    printed = run("-m", "pytest", *flags, str(tmp_path))

    assert "2 passed" in printed


def test_every_fixture_says_whose_it_is(tmp_path: Path) -> None:
    """No name of the plugin can collide with a user's: each fixture begins with `authsvc_`."""
    (tmp_path / "test_none.py").write_text("")
    flags = ["-q", "--fixtures", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", "/dev/null"]

    printed = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout

    ours = [line.split(" ")[0] for line in printed.splitlines() if "authsvc_client/testing/plugin.py" in line]
    assert len(ours) >= 6
    assert all(name.startswith("authsvc_") for name in ours)
