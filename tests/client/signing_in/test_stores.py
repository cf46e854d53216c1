"""Tokens on disk are their owner's alone, whole at every moment, and shared by all who open them."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from authsvc_client import (
    AuthClient,
    MemoryStore,
    PasswordLogin,
    RefreshTokenSource,
    SessionEnded,
    SignInFailed,
    SyncAuthClient,
    SyncPasswordLogin,
    SyncRefreshTokenSource,
    TokenFile,
    TokenFileUnsafe,
)
from authsvc_client.signing_in import Stored, TokenStore
from tests.client.signing_in.between import Between
from tests.parts.service import ISSUER, PASSWORD, Service

# Newer Pythons warn of what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

KEPT = Stored(ISSUER, "user:1", "atr_token", "a.b.c", "|", 1, 2)
MINUTE = 60_000


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    """Each kind of store."""
    return MemoryStore() if request.param == "memory" else TokenFile(tmp_path / "tokens")


def test_a_store_gives_back_what_was_written_last(store: TokenStore) -> None:
    """Empty at first; then the last words, long or short."""
    assert store.try_lock()
    assert store.read() is None
    for stored in (KEPT, Stored(ISSUER, "user:1", ended="LONG" * 1000), KEPT):
        store.write(stored)
        assert store.read() == stored
    store.unlock()


def test_one_at_a_time_holds_the_lock(store: TokenStore) -> None:
    """A lock that is held is not given again, and once free it is."""
    assert store.try_lock()
    assert not store.try_lock()
    store.unlock()
    assert store.try_lock()
    store.unlock()


def test_a_child_is_excluded_too_and_its_death_frees_the_lock(store: TokenStore) -> None:
    """The lock holds between a process and its forked children, both ways, and dies with its holder."""
    assert store.try_lock()
    assert _in_a_child(lambda: not store.try_lock())
    store.unlock()
    assert _in_a_child(lambda: store.try_lock())  # and dies holding it
    assert store.try_lock()
    store.unlock()


def test_a_child_sees_what_the_parent_wrote_and_the_other_way_round(store: TokenStore) -> None:
    """Tokens renewed on one side of a fork are known on the other."""
    assert store.try_lock()
    store.write(KEPT)
    store.unlock()

    def child() -> bool:
        assert store.try_lock()
        seen = store.read()
        store.write(Stored(ISSUER, "user:1", "atr_child"))
        store.unlock()
        return seen == KEPT

    assert _in_a_child(child)
    assert store.read() == Stored(ISSUER, "user:1", "atr_child")


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and 0700 for a directory that had to be made."""
    path = tmp_path / "deep" / "tokens"
    store = TokenFile(path)
    before = os.umask(0)
    try:
        assert store.try_lock()
        store.write(KEPT)
        store.unlock()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(each.name for each in path.parent.iterdir()) == ["tokens", "tokens.lock"]


def test_a_file_that_others_can_read_is_not_believed(tmp_path: Path) -> None:
    """Neither a file with a wider mode, nor a link, nor a pipe."""
    path = tmp_path / "tokens"
    path.write_bytes(KEPT.to_json())
    path.chmod(0o640)
    with pytest.raises(TokenFileUnsafe):
        TokenFile(path).read()
    path.chmod(0o600)
    assert TokenFile(path).read() == KEPT

    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    for unsafe in (link, pipe):
        with pytest.raises(TokenFileUnsafe):
            TokenFile(unsafe).read()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"issuer": 1, "origin": "x"}', b"null"])
def test_a_file_with_something_else_in_it_has_no_tokens(tmp_path: Path, content: bytes) -> None:
    """What makes no sense is as good as nothing."""
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    path.write_bytes(content)

    assert TokenFile(path).read() is None


def test_a_write_that_fails_leaves_the_old_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs nothing that was there, and leaves no scraps with tokens in them."""
    path = tmp_path / "tokens"
    store = TokenFile(path)
    store.write(KEPT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(Stored(ISSUER, "user:1", "atr_new"))

    assert store.read() == KEPT
    assert [each.name for each in tmp_path.iterdir()] == ["tokens"]


async def test_a_second_run_goes_on_where_the_first_stopped(
    service: Service, between: Between, tmp_path: Path
) -> None:
    """A program run again needs no login, and no refresh either while its access token is good."""
    await service.add_user()
    for _ in range(2):
        async with AuthClient(
            between.address, issuer=ISSUER, client_key=service.keys["web"], clock=service.clock
        ) as auth:
            store = TokenFile(tmp_path / "tokens")
            await PasswordLogin(auth, "alice", PASSWORD, store=store).obtain()
            await RefreshTokenSource(auth, store=store).obtain()
    assert (between.counts["Login"], between.counts["Refresh"]) == (1, 0)
    service.clock.move(6 * MINUTE)

    def run() -> None:
        with SyncAuthClient(
            between.address, issuer=ISSUER, client_key=service.keys["web"], clock=service.clock
        ) as auth:
            SyncRefreshTokenSource(auth, store=TokenFile(tmp_path / "tokens")).obtain()
            SyncPasswordLogin(auth, "alice", PASSWORD, store=TokenFile(tmp_path / "tokens")).obtain()

    await asyncio.to_thread(run)

    assert (between.counts["Login"], between.counts["Refresh"]) == (1, 1)


async def test_tokens_of_somebody_else_are_not_used(
    service: Service, between: Between, tmp_path: Path
) -> None:
    """A file with another user's session, or another issuer's, is not taken for one's own."""
    await service.add_user("alice")
    await service.add_user("bob")
    store = TokenFile(tmp_path / "tokens")
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        alices = await PasswordLogin(auth, "alice", PASSWORD, store=store).obtain()
        bobs = await PasswordLogin(auth, "bob", PASSWORD, store=store).obtain()

    async with AuthClient(between.address, issuer="https://other.example.com") as other:
        with pytest.raises(SessionEnded):
            await RefreshTokenSource(other, store=store).obtain()

    assert alices != bobs
    assert between.counts["Login"] == 2
    assert between.counts["Refresh"] == 0


async def test_the_end_of_a_session_is_kept(service: Service, between: Between, tmp_path: Path) -> None:
    """The next run of a program is told that its session has ended, without asking again."""
    login = await service.login()
    store = TokenFile(tmp_path / "tokens")
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        await auth.logout(login.session_token)
        for _ in range(2):
            with pytest.raises(SessionEnded, match="REFRESH_TOKEN_NOT_ACTIVE"):
                await RefreshTokenSource(auth, login.tokens.refresh_token, store=store).obtain()
            with pytest.raises(SessionEnded, match="REFRESH_TOKEN_NOT_ACTIVE"):
                await RefreshTokenSource(auth, store=store).obtain()

    assert between.counts["Refresh"] == 1


async def test_a_file_that_cannot_be_used_is_an_error_of_the_call(service: Service, tmp_path: Path) -> None:
    """A call whose tokens cannot be kept fails, and says which file is at fault."""
    path = tmp_path / "tokens"
    path.touch(mode=0o644)
    path.chmod(0o644)
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD, store=TokenFile(path))

        with pytest.raises(SignInFailed, match="must be a plain file") as failed:
            await source.obtain()

    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("when", ["before its first use", "while it is in use"])
async def test_forked_workers_share_a_session(service: Service, between: Between, when: str) -> None:
    """A source made before a fork serves parent and children: they renew in turn, and nobody is logged out."""
    login = await service.login()
    words = {
        "address": between.address,
        "issuer": ISSUER,
        "client_key": service.keys["web"],
        "refresh_token": login.tokens.refresh_token,
        "is_in_use": when == "while it is in use",
    }
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("forking.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "1"},
    )

    out, _ = await asyncio.wait_for(program.communicate(json.dumps(words).encode()), 60)

    tokens = json.loads(out)
    assert len(tokens) == 4
    assert len({*tokens}) == 1
    assert tokens[0].count(".") == 2
    assert between.counts["Refresh"] == (2 if words["is_in_use"] else 1)


def _in_a_child(check: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if check() else 1)
    return os.waitpid(child, 0)[1] == 0
