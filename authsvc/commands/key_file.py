"""Owns where a new client key goes: to a file of one's own (mode 0600), or once to standard output.

The file is opened before the key is asked for: a key that cannot be kept would be lost, for it is shown only once.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from authsvc.commands.failure import WRONG_USE, CommandFailed


@contextmanager
def kept(path: Path | None, replace: bool) -> Iterator[Callable[[str], None]]:
    """Give a function that puts the key into the file, whole or not at all; without a file it does nothing.

    Raises CommandFailed if there is a file that must not be replaced, or none can be written.
    """
    if path is None:
        yield _nowhere
        return
    if path.exists() and not replace:
        raise CommandFailed(f"{path} exists; name another file", WRONG_USE)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}", WRONG_USE) from None
    temporary = Path(name)

    def keep(key: str) -> None:
        with os.fdopen(handle, "w", closefd=False) as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(handle)
        temporary.replace(path)

    try:
        yield keep
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _nowhere(_key: str) -> None:
    """The key is printed instead."""
