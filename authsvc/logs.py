"""Owns how logs look: JSON lines in UTC, or readable lines on a terminal; and that no secret gets into one."""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import structlog

# Opaque tokens by their prefix, and anything shaped like a JWT.
_SECRET = re.compile(r"at[srcdh]_[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SECRET_NAMES = re.compile(r"password|authorization|cookie|secret|token$|client_key$|private", re.IGNORECASE)
_MASK = "[removed]"
_JSON = json.JSONEncoder(default=repr)  # made once: json.dumps makes one for each line


def configure(level: str = "info", readable: bool = False, to: TextIO | None = None) -> None:
    """Send all logs, structlog's and the standard library's, to `to` (standard error)."""
    stream = to or sys.stderr
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
        ),
        without_exception_texts,
        redact,
    ]
    rendering: list[structlog.typing.Processor] = (
        [with_readable_exception, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if readable
        else [structlog.processors.JSONRenderer(serializer=_as_json)]
    )
    structlog.configure(
        processors=[*chain, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(_Unfailing(stream)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


def configure_for_terminal() -> None:
    """What commands that work on the stores themselves do first. Unconfigured, structlog shows local variables."""
    configure("warning", readable=True)
    log_what_nobody_catches()


def log_what_nobody_catches() -> None:
    """Have exceptions that end a thread or this process logged like others: Python itself would write their texts."""
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda ended: _log_uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, place: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        structlog.get_logger("authsvc").critical("crashed", exc_info=(kind, error, place))


def without_exception_texts(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep of an exception its type and its place. Its text may quote what it was given: a password, a row, a reply."""
    for each in event.get("exception", ()):
        _drop_texts(each)
    return event


def _drop_texts(rendered: dict[str, Any]) -> None:
    rendered.pop("exc_value", None)
    rendered.pop("exc_notes", None)
    rendered.pop("syntax_error", None)
    for group in rendered.get("exceptions", ()):
        for each in group:
            _drop_texts(each)


def _as_json(event: MutableMapping[str, Any], **_: Any) -> str:
    return _JSON.encode(event)


def with_readable_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Write of an exception, for a terminal, its type and where it came from, outermost first."""
    if rendered := event.pop("exception", None):
        event["exception"] = "\n".join(line for each in rendered for line in _lines(each))
    return event


def _lines(rendered: dict[str, Any]) -> Iterator[str]:
    yield f"{rendered['exc_type']}, raised in"
    for frame in rendered["frames"]:
        yield f"  {frame['filename']}:{frame['lineno']} {frame['name']}"
    for group in rendered.get("exceptions", ()):
        for each in group:
            yield from _lines(each)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what a secret's name or looks give away, however deep it sits."""
    return {name: _MASK if _names_secret(name) else _redacted(value) for name, value in event.items()}


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET.sub(_MASK, value)
    if isinstance(value, dict):
        return redact(None, "", value)
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value if isinstance(value, int | float | bool | None) else _SECRET.sub(_MASK, repr(value))


class _Unfailing:
    """A stream to log to that takes what it can: a full disk or a closed pipe must not become a caller's trouble."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Bridge(logging.Handler):
    """Hands records of the standard library's logging to structlog, without their arguments' objects."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, _without_text_of(error, record.getMessage()), exc_info=error)


def _without_text_of(error: BaseException | None, message: str) -> str:
    """A library's message about an exception may quote it; asyncio does, in the lines after the first."""
    if error is None:
        return message
    for text in filter(None, (repr(error), str(error))):
        message = message.replace(text, type(error).__name__)
    return message.partition("\n")[0]
