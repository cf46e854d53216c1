"""What `deploy/` says must be true of this version."""

import re
from pathlib import Path

import pytest

from authsvc.config import SettingsWrong, read_admin_settings
from authsvc.settings import Settings
from authsvc.settings.kinds import duration_ms

_DEPLOY = Path(__file__).parent.parent / "deploy"
_ENVIRONMENT = (_DEPLOY / "authsvc.env.example").read_text()
_UNIT = (_DEPLOY / "systemd" / "authsvc.service").read_text()
# Shown as an example: not set otherwise, or dependent on the machine.
_EXAMPLES = {
    *("PLAINTEXT", "SIGNING_KEY_FILE", "PASSWORD_SLOTS", "METRICS_LISTEN", "HTTP_LISTEN", "WEB_ORIGINS"),
    *("TLS_CLIENT_CA_FILE", "MTLS_LISTEN", "DATABASE_CA_FILE", "CACHE_CA_FILE"),
    *("TRACES_ENDPOINT", "TRACES_SHARE"),
}


def _names(text: str) -> set[str]:
    return set(re.findall(r"AUTHSVC_([A-Z_]+)", text))


@pytest.mark.parametrize("name", sorted(_names(_ENVIRONMENT) | _names(_UNIT)))
def test_every_name_is_a_setting(name: str) -> None:
    """No file in `deploy/` names a setting that this version does not have."""
    try:
        read_admin_settings({f"AUTHSVC_{name}": "x"})
    except SettingsWrong as error:
        mistakes = error.mistakes
    else:
        mistakes = []

    assert f"AUTHSVC_{name} is no setting of this version" not in mistakes


def test_every_setting_is_named() -> None:
    """The example of the environment leaves no setting of the server out."""
    named = {name.lower().removesuffix("_file") for name in _names(_ENVIRONMENT)}

    assert {field.removesuffix("_file") for field in Settings.model_fields} <= named


def test_values_shown_are_the_defaults() -> None:
    """What is commented out in the example is what holds without it."""
    shown = dict(re.findall(r"^#AUTHSVC_([A-Z_]+)=(.*)$", _ENVIRONMENT, re.MULTILINE))
    defaults = {name: Settings.model_fields[name.lower()].default for name in shown.keys() - _EXAMPLES}

    as_read = {name: _value(shown[name], default) for name, default in defaults.items()}

    assert as_read == defaults
    assert len(as_read) > 10


def _value(text: str, default: object) -> object:
    if isinstance(default, bool):
        return text == "true"
    if isinstance(default, int):
        return int(text) if text.isdecimal() else duration_ms(text)
    return text


def test_the_unit_hands_over_what_it_loads() -> None:
    """Each credential that the unit loads reaches a setting, and each setting's credential is loaded."""
    loaded = set(re.findall(r"^LoadCredential=(\w+):", _UNIT, re.MULTILINE))
    used = set(re.findall(r"^Environment=AUTHSVC_\w+_FILE=%d/(\w+)$", _UNIT, re.MULTILINE))

    assert loaded == used != set()
