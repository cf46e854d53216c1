"""Owns how a command ends badly: one clear sentence and an exit status. Leaves printing it to `authsvc.__main__`.

Light on purpose: it is loaded with every command, `--help` too.
"""

REFUSED = 1
WRONG_USE = 2
NO_ANSWER = 3


class CommandFailed(Exception):
    """The command did not do what was asked. The message is for people and holds no secret."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status
