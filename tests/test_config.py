"""Reading the settings: what they may be, and that every mistake is said, at once, without a secret."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import make_url

from authsvc.config import (
    SettingsWrong,
    read_admin_settings,
    read_database_settings,
    read_offline_settings,
    read_settings,
)
from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.settings import Settings, is_local_address
from authsvc.settings.kinds import duration_ms
from authsvc.stores.valkey.address import Tls, parse_cache_url
from tests.parts.authority import Authority

_GOOD = {
    "AUTHSVC_ISSUER": "https://auth.example.com",
    "AUTHSVC_DATABASE_URL": "postgresql://me:database-password@db/authsvc",
    "AUTHSVC_CACHE_URL": "rediss://:cache-password@cache/0",
    "AUTHSVC_SECRET_KEYS": "a-deployment-secret-of-32-bytes-x",
    "AUTHSVC_PLAINTEXT": "true",
}


def _mistakes(reader: Any = read_settings, /, **changed: str | None) -> list[str]:
    environ = {**_GOOD, **{f"AUTHSVC_{name}": value for name, value in changed.items()}}
    with pytest.raises(SettingsWrong) as wrong:
        reader({name: value for name, value in environ.items() if value is not None})
    return list(wrong.value.mistakes)


def test_little_is_needed() -> None:
    """Five settings are enough; everything else has a default."""
    settings = read_settings(_GOOD)

    assert settings.listen == "127.0.0.1:50051"
    assert (settings.session_idle, settings.session_absolute) == (30 * MINUTE, 12 * HOUR)
    assert (settings.refresh_absolute, settings.access_ttl) == (90 * DAY, 5 * MINUTE)
    assert settings.metrics_address is None


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("2s", 2000),
        ("30m", 1_800_000),
        ("12h", 43_200_000),
        ("14d", 1_209_600_000),
        ("0s", 0),
    ],
)
def test_durations_have_a_unit(text: str, milliseconds: int) -> None:
    """A duration is a whole number and a unit, and becomes milliseconds."""
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "30", "m", "1.5h", "-1s", "1 h", "1h30m", "٣s", "1w", "9999999999s", "1H"]
)
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused rather than guessed at."""
    with pytest.raises(ValueError, match="a whole number and a unit"):
        duration_ms(text)


def test_every_mistake_is_said_at_once() -> None:
    """Missing, misspelt, unreadable, out of bounds, inconsistent: one reading names them all."""
    mistakes = _mistakes(
        ISSUER=None,
        DATABASE_URL="mysql://me:database-password@db/authsvc",
        CACHE_URL="memcached://cache-password@cache",
        SECRET_KEYS="too-short-a-secret",
        LISTEN="0.0.0.0:50051",
        SESSION_IDLE="13h",
        REMEMBER_IDLE="soon",
        ACCESS_TTL="1h",
        PASSWORD_MIN_LENGTH="4",
        METRICS_LISTEN="everywhere",
        LOG_LEVEL="loud",
        SIGNING_KEY_FILE="/no/such/file",
        SESION_ABSOLUTE="12h",
    )

    about = {mistake.removeprefix("AUTHSVC_").split()[0].strip(":") for mistake in mistakes}
    assert about == {
        *("ISSUER", "DATABASE_URL", "CACHE_URL", "SECRET_KEYS_FILE", "TLS_CERT_FILE", "SESSION_ABSOLUTE"),
        *(
            "REMEMBER_IDLE",
            "ACCESS_TTL",
            "PASSWORD_MIN_LENGTH",
            "METRICS_LISTEN",
            "LOG_LEVEL",
            "SIGNING_KEY_FILE",
        ),
        "SESION_ABSOLUTE",
    }
    assert len(mistakes) == len(about)


def test_audit_events_are_kept_a_day_at_least() -> None:
    """A slip such as a missing unit of days must not empty the audit log; to keep it for ever is said by 0s."""
    mistakes = _mistakes(AUDIT_RETENTION="23h")

    assert "AUTHSVC_AUDIT_RETENTION: must be at least 1d, or 0s for ever" in mistakes
    assert read_settings({**_GOOD, "AUTHSVC_AUDIT_RETENTION": "0s"}).audit_retention == 0


def test_a_mistake_never_repeats_a_secret() -> None:
    """Messages name the variable, never what it holds."""
    said = "\n".join(
        _mistakes(
            DATABASE_URL="mysql://me:database-password@db/authsvc",
            CACHE_URL="redis://:cache-password@cache:none",
            SECRET_KEYS="too-short-a-secret",
            SIGNING_KEY="-----BEGIN PRIVATE KEY-----\nnot-a-key\n-----END PRIVATE KEY-----",
            CLIENT_KEY="atc_a-client-key-that-is-secret",
        )
    )

    for secret in ("database-password", "cache-password", "too-short-a-secret", "not-a-key", "atc_"):
        assert secret not in said


def test_settings_show_no_secret() -> None:
    """Neither settings nor the error of wrong ones, printed by accident, give a secret away."""
    with pytest.raises(ValidationError) as wrong:
        Settings(database_url=SecretStr("mysql://database-password@db"))  # type: ignore[call-arg]

    assert "database-password" not in repr(read_settings(_GOOD))
    assert "database-password" not in str(wrong.value)


def test_an_unknown_variable_is_a_mistake_for_every_command() -> None:
    """A misspelt name is not silently a default."""
    for reader in (read_settings, read_database_settings, read_offline_settings, read_admin_settings):
        assert _mistakes(reader, SESION_IDLE="1h") == ["AUTHSVC_SESION_IDLE is no setting of this version"]


def test_other_variables_are_not_looked_at() -> None:
    """Only names that begin with AUTHSVC_ are ours."""
    assert (
        read_settings({**_GOOD, "ISSUER": "http://elsewhere", "AUTHSVCISSUER": "x"}).issuer
        == _GOOD["AUTHSVC_ISSUER"]
    )


def test_an_empty_variable_is_not_set() -> None:
    """A unit or container file leaves a setting out by leaving it empty."""
    settings = read_settings({**_GOOD, "AUTHSVC_TLS_CERT_FILE": "", "AUTHSVC_SESSION_IDLE": ""})

    assert (settings.tls_cert_file, settings.session_idle) == (None, 30 * MINUTE)
    assert _mistakes(ISSUER="") == ["AUTHSVC_ISSUER is missing"]


@pytest.mark.parametrize("name", ["SECRET_KEYS", "DATABASE_URL", "CACHE_URL"])
def test_a_secret_may_be_in_a_file(name: str, tmp_path: Path) -> None:
    """AUTHSVC_…_FILE is read in its place, without the line end; both at once is a mistake, and so is no such file."""
    variable = f"AUTHSVC_{name}"
    file = tmp_path / "secret"
    file.write_text(_GOOD[variable] + "\n")
    without = {other: value for other, value in _GOOD.items() if other != variable}

    from_file = read_settings({**without, f"{variable}_FILE": str(file)})

    assert from_file == read_settings(_GOOD)
    assert _mistakes(**{f"{name}_FILE": str(file)}) == [
        f"{variable} and {variable}_FILE must not both be given"
    ]
    assert _mistakes(**{name: None, f"{name}_FILE": "/no/such/file"}) == [
        f"{variable}_FILE: cannot read /no/such/file"
    ]


def test_a_command_reads_only_the_files_it_needs() -> None:
    """Who migrates need not be able to read the deployment's secrets."""
    settings = read_database_settings({**_GOOD, "AUTHSVC_SECRET_KEYS_FILE": "/no/such/file"})

    assert settings.database_url.get_secret_value() == _GOOD["AUTHSVC_DATABASE_URL"]


def test_several_secrets_are_one_a_line() -> None:
    """The first is current, the others are known, too."""
    other = "another-deployment-secret-of-32-bytes"

    settings = read_settings({**_GOOD, "AUTHSVC_SECRET_KEYS": f"{_GOOD['AUTHSVC_SECRET_KEYS']}\n{other}\n"})

    assert len(settings.secrets.derive("anything")) == 2


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:50051", "[::]:50051", "10.0.0.1:50051", "auth.example.com:50051"]
)
def test_plaintext_beyond_this_machine_is_refused(listen: str) -> None:
    """Asked for or not, a server never takes calls in the clear from elsewhere."""
    for plaintext in ("true", None):
        (mistake,) = _mistakes(LISTEN=listen, PLAINTEXT=plaintext)

        assert mistake.startswith("AUTHSVC_TLS_CERT_FILE is missing")


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:50051", "127.8.9.1:1", "[::1]:50051", "localhost:50051", "unix:/run/a.sock"]
)
def test_plaintext_on_this_machine_must_be_asked_for(listen: str) -> None:
    """On loopback and on Unix sockets plaintext is allowed, yet never by default."""
    assert read_settings({**_GOOD, "AUTHSVC_LISTEN": listen}).plaintext
    assert len(_mistakes(LISTEN=listen, PLAINTEXT=None)) == 1


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    """Half of a pair is a mistake, and so is a file that cannot be read or is none."""
    file = tmp_path / "cert.pem"
    file.write_text("no certificate")

    assert "must be given together" in _mistakes(TLS_CERT_FILE=str(file))[0]
    assert "must be given together" in _mistakes(TLS_KEY_FILE=str(file))[0]
    assert "holds no certificate" in _mistakes(TLS_CERT_FILE=str(file), TLS_KEY_FILE=str(file))[0]
    assert _mistakes(TLS_CERT_FILE=str(tmp_path)) == [f"AUTHSVC_TLS_CERT_FILE: cannot read {tmp_path}"]


@pytest.mark.parametrize(
    "url", ["redis://:cache-password@cache/0", "redis+sentinel://one,two/main", "valkey+cluster://10.0.0.1"]
)
def test_the_cache_on_another_machine_is_not_spoken_to_in_the_clear(url: str) -> None:
    """A cache elsewhere needs TLS, unless it is said that this is not safe; on this machine it does not."""
    (mistake,) = _mistakes(CACHE_URL=url)

    assert mistake.startswith("AUTHSVC_CACHE_URL: must begin with rediss")
    unsafe = {**_GOOD, "AUTHSVC_CACHE_URL": url, "AUTHSVC_UNSAFE_UNVERIFIED_STORES": "true"}
    assert "unsafe_plaintext=true" in read_settings(unsafe).cache_url.get_secret_value()
    read_settings({**_GOOD, "AUTHSVC_CACHE_URL": "redis://127.0.0.1"})


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
@pytest.mark.parametrize("reader", [read_settings, read_database_settings, read_offline_settings])
def test_the_database_on_another_machine_must_prove_itself(reader: Any, mode: str) -> None:
    """An sslmode that lets anybody answer for a database elsewhere is refused, by every command that opens it, unless
    it is said that this is not safe; on this machine it is not."""
    url = f"postgresql://me:database-password@{{}}/authsvc?sslmode={mode}"

    (mistake,) = _mistakes(reader, DATABASE_URL=url.format("db"))

    assert mistake.startswith("AUTHSVC_DATABASE_URL: sslmode must be verify-full")
    unsafe = {**_GOOD, "AUTHSVC_DATABASE_URL": url.format("db"), "AUTHSVC_UNSAFE_UNVERIFIED_STORES": "true"}
    assert reader(unsafe).database_url.get_secret_value() == url.format("db")
    reader({**_GOOD, "AUTHSVC_DATABASE_URL": url.format("localhost")})


def test_authorities_of_the_stores(tmp_path: Path) -> None:
    """Whom the stores' certificates must come from is a setting of its own; both ways at once is a mistake."""
    file = Authority().write(tmp_path)
    given = {"AUTHSVC_DATABASE_CA_FILE": str(file), "AUTHSVC_CACHE_CA_FILE": str(file)}

    settings = read_settings({**_GOOD, **given})

    assert make_url(settings.database_url.get_secret_value()).query == {"sslrootcert": str(file)}
    assert "database-password@db" in settings.database_url.get_secret_value()
    assert parse_cache_url(settings.cache_url.get_secret_value()).servers[0].tls == Tls(str(file))
    url = "postgresql://db/authsvc?sslrootcert=/x"
    (mistake,) = _mistakes(DATABASE_URL=url, DATABASE_CA_FILE=str(file))
    assert mistake == "AUTHSVC_DATABASE_URL: the database address has an sslrootcert of its own"


def test_clients_certificates_need_tls(tmp_path: Path) -> None:
    """Whom clients' certificates must come from means nothing without TLS, and a port for them nothing without that."""
    file = str(Authority().write(tmp_path))

    assert _mistakes(TLS_CLIENT_CA_FILE=file) == [
        "AUTHSVC_TLS_CLIENT_CA_FILE: needs AUTHSVC_TLS_CERT_FILE: without TLS nobody has a certificate"
    ]
    (mistake,) = _mistakes(MTLS_LISTEN="127.0.0.1:50052")
    assert mistake.startswith("AUTHSVC_MTLS_LISTEN: needs AUTHSVC_TLS_CLIENT_CA_FILE")


@pytest.mark.parametrize(
    "listen", ["50051", ":50051", "127.0.0.1", "::1:50051", "127.0.0.1:http", "http://127.0.0.1:1"]
)
def test_an_address_is_host_and_port(listen: str) -> None:
    """What could be read in two ways is not read at all."""
    assert _mistakes(LISTEN=listen) == [
        "AUTHSVC_LISTEN: must be host:port, [IPv6 address]:port or unix:/path"
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [(":9464", ("127.0.0.1", 9464)), ("0.0.0.0:9464", ("0.0.0.0", 9464)), ("[::1]:0", ("::1", 0))],
)
def test_metrics_are_on_loopback_unless_a_host_is_given(text: str, address: tuple[str, int]) -> None:
    """:port is loopback; everywhere must be said."""
    assert read_settings({**_GOOD, "AUTHSVC_METRICS_LISTEN": text}).metrics_address == address


@pytest.mark.parametrize(
    "issuer", ["auth.example.com", "ftp://auth.example.com", "https://", "https://a/?b", "https://a/#b"]
)
def test_an_issuer_is_a_url(issuer: str) -> None:
    """The issuer is what tokens carry and clients compare: a URL without query or fragment."""
    assert _mistakes(ISSUER=issuer) == ["AUTHSVC_ISSUER: must be a URL such as https://auth.example.com"]


def test_idle_is_never_longer_than_absolute() -> None:
    """The mistake is found wherever it comes from: a value given, or a default that it meets."""
    assert _mistakes(SESSION_ABSOLUTE="10m") == [
        "AUTHSVC_SESSION_ABSOLUTE: must not be shorter than AUTHSVC_SESSION_IDLE"
    ]
    assert _mistakes(REFRESH_IDLE="91d") == [
        "AUTHSVC_REFRESH_ABSOLUTE: must not be shorter than AUTHSVC_REFRESH_IDLE"
    ]


def test_where_to_call_is_found_from_the_servers_own_settings() -> None:
    """Beside a server no address is needed: everywhere is, from this machine, loopback."""
    assert read_admin_settings({}).target == "127.0.0.1:50051"
    assert read_admin_settings({"AUTHSVC_LISTEN": "0.0.0.0:7"}).target == "127.0.0.1:7"
    assert read_admin_settings({"AUTHSVC_LISTEN": "[::]:7"}).target == "[::1]:7"
    assert (
        read_admin_settings({"AUTHSVC_ADDRESS": "auth:7", "AUTHSVC_LISTEN": "0.0.0.0:7"}).target == "auth:7"
    )


def test_a_client_key_is_not_sent_in_the_clear() -> None:
    """Plaintext to another machine is refused for those who call, too."""
    assert _mistakes(read_admin_settings, ADDRESS="auth.example.com:50051") == [
        "AUTHSVC_PLAINTEXT: plaintext needs an AUTHSVC_ADDRESS on loopback or a Unix socket"
    ]


@pytest.mark.parametrize(
    "address", ["127.0.0.1.example.com:1", "localhost.example.com:1", "", "dns:///127.0.0.1:1"]
)
def test_what_only_looks_local(address: str) -> None:
    """A name that begins like a loopback address is not one."""
    assert not is_local_address(address)
