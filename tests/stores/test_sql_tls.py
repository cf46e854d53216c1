"""PostgreSQL over TLS: a server on another machine proves who it is, or is not spoken to.

The server of the wheel is built without TLS; a front speaks it. What is judged is our side.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.sql import UnknownDatabase, open_stores
from authsvc.stores.sql.address import parse
from authsvc.stores.sql.tls import is_verified, tls_of
from tests.parts.authority import Authority, address, dns
from tests.parts.postgres import Postgres
from tests.parts.tls_front import Front, tls_front

_SOCKET = ".s.PGSQL.5432"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority of the server's certificate; its own is in `ca.pem`."""
    made = Authority()
    made.write(tmp_path)
    return made


@pytest.fixture
async def front(postgres: Postgres, authority: Authority, tmp_path: Path) -> AsyncIterator[Front]:
    """A server that speaks TLS, as `localhost`."""
    upstream = str(postgres.directory / _SOCKET)
    signed = authority.sign(dns("localhost"))
    async with tls_front(upstream, signed, tmp_path, postgresql=True) as running:
        yield running


def url_of(front: Front, host: str, **options: str) -> str:
    """Where the front is, with these options."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql://postgres@{host}:{front.port}/postgres?{query}"


async def answers(url: str) -> bool:
    """Whether the database at this address is one to speak to."""
    stores = open_stores(url)
    try:
        await stores.ping()
    except StoreUnavailable:
        return False
    finally:
        await stores.close()
    return True


async def test_a_server_that_proves_who_it_is(front: Front, tmp_path: Path) -> None:
    """With its authority known, the server is spoken to; over TLS."""
    ca = str(tmp_path / "ca.pem")

    assert await answers(url_of(front, "localhost", sslmode="verify-full", sslrootcert=ca))
    assert front.in_the_clear == 0


async def test_another_authority(front: Front, tmp_path: Path) -> None:
    """A certificate of an authority that is not the one named, or not one of the system's, proves nothing."""
    other = str(Authority().write(tmp_path, "other"))

    assert not await answers(url_of(front, "localhost", sslmode="verify-full", sslrootcert=other))
    assert not await answers(url_of(front, "localhost", sslmode="verify-full"))
    assert not await answers(url_of(front, "localhost", sslmode="verify-ca", sslrootcert=other))


async def test_another_name(front: Front, tmp_path: Path) -> None:
    """A certificate for another name proves nothing, unless only the authority is asked for."""
    ca = str(tmp_path / "ca.pem")

    assert not await answers(url_of(front, "127.0.0.1", sslmode="verify-full", sslrootcert=ca))
    assert await answers(url_of(front, "127.0.0.1", sslmode="verify-ca", sslrootcert=ca))


async def test_an_expired_certificate(postgres: Postgres, authority: Authority, tmp_path: Path) -> None:
    """A certificate that has expired proves nothing."""
    signed = authority.sign(address("127.0.0.1"), expires_in=timedelta(seconds=-1))
    upstream = str(postgres.directory / _SOCKET)
    async with tls_front(upstream, signed, tmp_path, postgresql=True) as front:
        url = url_of(front, "127.0.0.1", sslmode="verify-full", sslrootcert=str(tmp_path / "ca.pem"))

        assert not await answers(url)


def test_another_machine_must_prove_itself() -> None:
    """Without a word on it, a server on another machine must prove itself, by the name it is called by; so must one of
    which it is not known where it is. (Guard: the default in `tls_of`; the driver's own is content with plaintext.)"""
    for url in (
        "postgresql://db.example.com/authsvc",
        "postgresql:///authsvc",
        "postgresql://10.0.0.1/authsvc",
    ):
        context = tls_of(parse(url))

        assert not isinstance(context, str)
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    ("url", "verified"),
    [
        ("postgresql://db/authsvc", True),
        ("postgresql://db/authsvc?sslmode=verify-full", True),
        ("postgresql://db/authsvc?sslmode=verify-ca&sslrootcert=/ca.pem", True),
        ("postgresql://db/authsvc?sslmode=verify-ca", False),
        ("postgresql://db/authsvc?sslmode=verify-ca&sslrootcert=system", False),
        ("postgresql://db/authsvc?sslmode=require", False),
        ("postgresql://db/authsvc?sslmode=require&sslrootcert=/ca.pem", False),
        ("postgresql://db/authsvc?sslmode=prefer", False),
        ("postgresql://db/authsvc?sslmode=disable", False),
        ("postgresql:///authsvc?host=/run/postgresql&sslmode=disable", True),
        ("postgresql:///authsvc?sslmode=disable", False),
        ("postgresql://localhost/authsvc?sslmode=disable", True),
        ("postgresql://[::1]/authsvc?sslmode=disable", True),
        ("postgresql://127.0.0.1.example.com/authsvc?sslmode=disable", False),
        ("postgresql:///authsvc?host=localhost:5432&host=db:5432&sslmode=disable", False),
        ("postgresql:///authsvc?host=localhost:5432,db:5432&sslmode=disable", False),
        ("postgresql:///authsvc?host=localhost:5432,127.0.0.1:5433&sslmode=disable", True),
    ],
)
def test_what_leaves_no_doubt(url: str, verified: bool) -> None:
    """Which addresses leave no doubt who answers."""
    assert is_verified(parse(url)) is verified


@pytest.mark.parametrize(
    "options", ["sslmode=always", "sslcrl=/x", "sslrootcert=/no/such/file", "sslcert=/no/such/file"]
)
def test_what_cannot_be_done_is_refused(options: str) -> None:
    """An option that would have to be ignored, or a file that cannot be read, is refused, not left out."""
    with pytest.raises(UnknownDatabase):
        tls_of(parse(f"postgresql://db/authsvc?{options}"))
