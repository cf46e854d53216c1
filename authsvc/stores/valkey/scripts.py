"""Owns the Lua scripts that run inside the server. Leaves their meaning to the stores that call them."""

import hashlib
from importlib.resources import files
from typing import Final

from authsvc.stores.valkey.connection import pack


class Script:
    """One script: its source and how it is called once loaded. Needs Valkey 7.2 or Redis 7 (script flags)."""

    def __init__(self, name: str) -> None:
        self.source: Final = files(__package__).joinpath(f"{name}.lua").read_bytes()
        # Not a secret: it is how the server names a script.
        self.sha: Final = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()

    def load(self) -> bytes:
        """Pack the command that teaches the server this script."""
        return pack("SCRIPT", "LOAD", self.source)

    def call(self, keys: list[bytes], *args: int | str) -> bytes:
        """Pack a call."""
        return pack("EVALSHA", self.sha, len(keys), *keys, *args)


VALIDATE = Script("validate")
END = Script("end")
HIT = Script("hit")
SUCCEED = Script("succeed")
ROLL = Script("roll")
ALL = (VALIDATE, END, HIT, SUCCEED, ROLL)
