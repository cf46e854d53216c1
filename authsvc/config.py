"""Owns reading the settings. Alone reads the environment. Leaves which there are to `authsvc.settings`.

Settings are `AUTHSVC_…` variables; a secret is given as a file, `AUTHSVC_…_FILE`. Every mistake is reported at once,
each with the variable it is in, and never with the value of a secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from authsvc.settings import PREFIX, AdminSettings, DatabaseSettings, EdgeSettings, OfflineSettings, Settings
from authsvc.settings.given import Given

# Secrets that may also be given as a file, by the setting they fill.
_FILES = {
    "secret_keys": "SECRET_KEYS_FILE",
    "signing_key": "SIGNING_KEY_FILE",
    "client_key": "CLIENT_KEY_FILE",
    "database_url": "DATABASE_URL_FILE",
    "cache_url": "CACHE_URL_FILE",
}
# Of those, the ones that are nearly always given as a file: a mistake in one names that variable.
_NAMED_BY_FILE = ("secret_keys", "client_key")


class SettingsWrong(Exception):
    """The settings cannot be used. `mistakes` names every one, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(
            "the settings cannot be used:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes)
        )
        self.mistakes = mistakes


_Kind = TypeVar("_Kind", bound="Given")


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the server's settings. Raises SettingsWrong."""
    return _read(Settings, os.environ if environ is None else environ)


def read_database_settings(environ: Mapping[str, str] | None = None) -> DatabaseSettings:
    """Return the database's settings. Raises SettingsWrong."""
    return _read(DatabaseSettings, os.environ if environ is None else environ)


def read_offline_settings(environ: Mapping[str, str] | None = None) -> OfflineSettings:
    """Return the settings of administration without a server. Raises SettingsWrong."""
    return _read(OfflineSettings, os.environ if environ is None else environ)


def read_admin_settings(environ: Mapping[str, str] | None = None) -> AdminSettings:
    """Return the administration commands' settings. Raises SettingsWrong."""
    return _read(AdminSettings, os.environ if environ is None else environ)


def read_edge_settings(environ: Mapping[str, str] | None = None) -> EdgeSettings:
    """Return the edge's settings. Raises SettingsWrong."""
    return _read(EdgeSettings, os.environ if environ is None else environ)


def _read(kind: type[_Kind], environ: Mapping[str, str]) -> _Kind:
    # A variable that is set to nothing is not set: that is how container and unit files leave one out.
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }
    mistakes = _unknown(given)
    unread = _read_files(kind, given)
    try:
        settings = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
    except ValidationError as error:
        wrong = [_sentence(each) for each in error.errors() if _field(each) not in unread]
        raise SettingsWrong([*mistakes, *unread.values(), *wrong]) from None
    if mistakes or unread:
        raise SettingsWrong([*mistakes, *unread.values()])
    return settings


def _unknown(given: Mapping[str, str]) -> list[str]:
    known = {
        name
        for kind in (Settings, OfflineSettings, AdminSettings, EdgeSettings)
        for name in kind.model_fields
    }
    known |= {name.lower() for name in _FILES.values()}
    return [f"{PREFIX}{name.upper()} is no setting of this version" for name in sorted(set(given) - known)]


def _read_files(kind: type[Given], given: dict[str, str]) -> dict[str, str]:
    """Put the contents of the secret files that `kind` needs in the place of their settings.

    Return what is wrong with those that cannot be read, by the name of the setting.
    """
    mistakes = {}
    for name, variable in _FILES.items():
        path = given.pop(variable.lower(), None)
        if path is None or name not in kind.model_fields:
            continue
        if name in given:
            mistakes[name] = f"{PREFIX}{name.upper()} and {PREFIX}{variable} must not both be given"
            continue
        try:
            given[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            mistakes[name] = f"{PREFIX}{variable}: cannot read {path}"
    return mistakes


def _sentence(error: Any) -> str:
    """One mistake, with the variable and without the value: it may be a secret."""
    name = _field(error)
    variable = PREFIX + (_FILES[name] if name in _NAMED_BY_FILE else name.upper())
    if error["type"] == "missing":
        return f"{variable} is missing"
    said = error["msg"].removeprefix("Value error, ")
    return said if said.startswith(PREFIX) else f"{variable}: {said}"


def _field(error: Any) -> str:
    return str(error["loc"][0]) if error["loc"] else ""
