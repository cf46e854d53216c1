"""Owns keeping tokens on disk, for command-line programs: one file that its owner alone may read, replaced as a whole.

Two runs of a program that share the file take turns to renew, through a lock beside it. Leaves its content to `stored`.
"""

import os
import stat
import tempfile
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path

from authsvc_client.signing_in.stored import Stored

_MAX_BYTES = 64 * 1024


class TokenFileUnsafe(OSError):
    """The file is not a plain file of this user's that nobody else can read. It is neither believed nor replaced."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} must be a plain file, owned by you, with mode 0600")


class TokenFile:
    """A TokenStore in a file. Raises OSError, and TokenFileUnsafe among them, when it is used."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """`path` and `path` + ".lock" are made when first needed, and their directory too."""
        self._path = Path(path)
        self._lock: int | None = None
        self._process = os.getpid()

    def try_lock(self) -> bool:
        """Take the lock if it is free, and say so."""
        if self._process != os.getpid():
            self._forget_parents_lock()
        if self._lock is not None:
            return False
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        lock, self._lock = self._lock, None
        if lock is not None:
            flock(lock, LOCK_UN)  # Closing alone would not do while a forked child has it open, too.
            os.close(lock)

    def read(self) -> Stored | None:
        """What was written last; None if there is no file, or nothing that makes sense in it."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            raise TokenFileUnsafe(self._path) from None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise TokenFileUnsafe(self._path)
            return Stored.from_json(os.read(file, _MAX_BYTES))
        finally:
            os.close(file)

    def write(self, stored: Stored) -> None:
        """Keep this instead: on disk before the file of old is gone."""
        file, name = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=self._path.parent)  # mode 0600
        try:
            with open(file, "wb") as out:  # noqa: PTH123  a descriptor, not a path
                out.write(stored.to_json())
                out.flush()
                os.fsync(file)
            os.replace(name, self._path)  # noqa: PTH105  a name from mkstemp
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108  a name from mkstemp
            raise
        _sync_directory(self._path.parent)

    def clear(self) -> None:
        """Forget the tokens, after a logout."""
        self._path.unlink(missing_ok=True)

    def _forget_parents_lock(self) -> None:
        lock, self._lock, self._process = self._lock, None, os.getpid()
        if lock is not None:
            os.close(lock)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
