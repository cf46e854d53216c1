"""What a log line looks like, and that no secret gets into one."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from authsvc import logs

_TOKENS = {
    "session": "ats_" + "s" * 60,
    "refresh": "atr_" + "r" * 60,
    "client key": "atc_" + "c" * 60,
    "access": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9." + "x" * 86,
}


@pytest.fixture
def lines() -> Iterator[Any]:
    """A function that returns what was logged so far, read as JSON."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info", to=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_is_json_in_utc(lines: Any) -> None:
    """A line is one JSON object with its event, its level and the time in UTC."""
    structlog.get_logger("authsvc").info("call", rpc="Login", ms=3)

    (line,) = lines()

    assert (line["event"], line["level"], line["rpc"], line["ms"]) == ("call", "info", "Login", 3)
    assert line["timestamp"].endswith("Z")


def test_less_than_the_level_is_not_logged(lines: Any) -> None:
    """What is below the level costs no line."""
    structlog.get_logger("authsvc").debug("a detail")

    assert lines() == []


@pytest.mark.parametrize("token", _TOKENS.values(), ids=_TOKENS.keys())
@pytest.mark.parametrize(
    "place",
    [
        lambda token: {"said": token},
        lambda token: {"said": f"Bearer {token}, and more"},
        lambda token: {"deep": {"list": [{"said": (token,)}]}},
        lambda token: {"object": ValueError(token)},
        lambda token: {"raw": token.encode()},
    ],
    ids=["value", "inside a text", "deep", "object", "bytes"],
)
def test_tokens_are_masked_wherever_they_are(lines: Any, place: Any, token: str) -> None:
    """A token is known by its looks, whatever it is called and however deep it sits."""
    structlog.get_logger("authsvc").info("call", **place(token))

    assert token not in json.dumps(lines())
    assert "[removed]" in json.dumps(lines())


def test_a_token_in_the_event_itself_is_masked(lines: Any) -> None:
    """The event's own text is no exception."""
    structlog.get_logger("authsvc").info(f"refused {_TOKENS['session']}")

    assert lines()[0]["event"] == "refused [removed]"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "Authorization",
        "cookie",
        "set-cookie",
        "secret_keys",
        "session_token",
        "client_key",
    ],
)
def test_secrets_are_known_by_their_names(lines: Any, name: str) -> None:
    """A value whose name says that it is secret is masked, whatever it looks like."""
    structlog.get_logger("authsvc").info("call", **{name: "hunter2"}, headers={name: ["hunter2"]})

    assert "hunter2" not in json.dumps(lines())


def test_ids_stay_readable(lines: Any) -> None:
    """What is no secret is left as it is: ids, kinds and reasons are what a log is read for."""
    said = {"session_id": "0199b1c4-1111-7222-8333-444455556666", "token_kind": "ats_", "key_id": "kid-1"}

    structlog.get_logger("authsvc").info("session.revoked", **said)

    assert lines()[0].items() >= said.items()


def test_an_exception_shows_no_local_variable_and_no_token(lines: Any) -> None:
    """A traceback says where, not what was in the variables there."""
    try:
        _fail("a local pass phrase", _TOKENS["refresh"])
    except RuntimeError:
        structlog.get_logger("authsvc").exception("incident")

    text = json.dumps(lines())
    assert "RuntimeError" in text
    assert "a local pass phrase" not in text
    assert _TOKENS["refresh"] not in text


def _fail(local: str, token: str) -> None:
    raise RuntimeError(f"cannot use {token}")


def test_other_libraries_are_heard_and_masked(lines: Any) -> None:
    """What libraries log through the standard library takes the same way, tokens masked."""
    logging.getLogger("some.library").warning("refused %s", _TOKENS["access"])
    logging.getLogger("some.library").info("chatter")

    (line,) = lines()
    assert (line["event"], line["level"]) == ("refused [removed]", "warning")
