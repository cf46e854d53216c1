"""A program that forks three workers from one source. Reads what to use from stdin, prints the tokens they obtain.

A program of its own, because a process that has a grpc.aio server must not fork.
"""

import json
import os
import sys

from authsvc_client import SignInFailed, SyncAuthClient, SyncRefreshTokenSource


def main() -> None:
    """Obtain in three children, then in the parent."""
    words = json.load(sys.stdin)
    client = SyncAuthClient(words["address"], issuer=words["issuer"], client_key=words["client_key"])
    source = SyncRefreshTokenSource(client, words["refresh_token"])
    if words["is_in_use"]:
        source.refused(source.obtain(), "ACCESS_TOKEN_EXPIRED")
    children = [_fork(source) for _ in range(3)]
    tokens = [os.read(child, 8192).decode() for child in children]
    json.dump([*tokens, source.obtain()], sys.stdout)


def _fork(source: SyncRefreshTokenSource) -> int:
    """Start a child that obtains a token; return where it writes it."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            found = source.obtain(20_000)
        except SignInFailed as failed:
            found = str(failed)
        os.write(write_end, found.encode())
        os._exit(0)
    os.close(write_end)
    return read_end


if __name__ == "__main__":
    main()
