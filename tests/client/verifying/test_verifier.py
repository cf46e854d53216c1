"""The verifier: one question per request, answered from memory."""

import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from authsvc_client.strict import (
    Key,
    KeySet,
    TokenExpired,
    TokenRevoked,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from authsvc_client.verifying import KeysUnavailable, Revocation, Revocations, Subject, Verifier
from tests.client.strict_minting import (
    ISSUER,
    JWK,
    KEYS,
    NOW,
    OTHER_JWK,
    OTHER_KEY,
    claims,
    header,
    mint,
)


def verifier(**changes: Any) -> Verifier:
    """A verifier for orders at NOW."""
    given: dict[str, Any] = {"keys": KEYS, "clock": lambda: NOW, **changes}
    return Verifier(ISSUER, "orders", **given)


def test_good_token_passes() -> None:
    """A good token comes back verified, the second time from memory."""
    judge, token = verifier(), mint()

    first, second = judge.verify(token), judge.verify(token)

    assert first.session_id == "session-1"
    assert second is first


@pytest.mark.parametrize("missing", [("", "orders"), (ISSUER, "")])
def test_issuer_and_audience_are_required(missing: tuple[str, str]) -> None:
    """A verifier that would believe anybody, or tokens for anybody, cannot be made."""
    with pytest.raises(ValueError, match="required"):
        Verifier(*missing)


def test_audience_is_judged_on_every_call() -> None:
    """A token remembered from before is still refused where it is not meant to go."""
    judge, token = verifier(), mint(claims(aud=["billing"]))

    for _ in range(2):
        with pytest.raises(WrongAudience):
            judge.verify(token)


def test_issuer_is_judged() -> None:
    """Another issuer's token is refused."""
    with pytest.raises(WrongIssuer):
        verifier().verify(mint(claims(iss="https://other.example")))


def test_revocation_is_judged_on_every_call() -> None:
    """A token that passed is refused from the moment its session's revocation counts."""
    judge, token = verifier(), mint()
    judge.verify(token)

    judge.revocations.apply([Revocation(Subject.SESSION, "session-1", NOW + 1)])

    with pytest.raises(TokenRevoked):
        judge.verify(token)


def test_expiry_is_judged_on_every_call() -> None:
    """A remembered token ends at its time."""
    now = NOW
    judge, token = verifier(clock=lambda: now), mint()
    judge.verify(token)

    now = NOW + 3_600_000

    with pytest.raises(TokenExpired):
        judge.verify(token)


def test_view_can_be_shared() -> None:
    """Verifiers for several audiences may ask one view."""
    view = Revocations()
    judges = [
        Verifier(ISSUER, name, keys=KEYS, revocations=view, clock=lambda: NOW)
        for name in ("orders", "billing")
    ]

    view.apply([Revocation(Subject.SESSION, "session-1", NOW + 1)])

    for judge in judges:
        with pytest.raises(TokenRevoked):
            judge.verify(mint())


def test_no_keys_is_not_a_refusal() -> None:
    """Before the first key set nothing is known, which no caller can mend by logging in again."""
    with pytest.raises(KeysUnavailable):
        verifier(keys=None).verify(mint())


def test_keys_are_swapped_for_all_calls_at_once() -> None:
    """A token whose key has left the set is refused at once, remembered or not."""
    judge, token = verifier(), mint()
    judge.verify(token)

    judge.use_keys(KeySet([Key.from_jwk(OTHER_JWK)]))

    with pytest.raises(UnknownKey):
        judge.verify(token)


def test_unknown_key_is_said() -> None:
    """A token that names a key not held is refused, and whoever can fetch keys is told."""
    judge, told = verifier(keys=KeySet([Key.from_jwk(JWK)])), list[int]()
    judge.on_unknown_key = lambda: told.append(1)
    token = mint(head=header(kid=OTHER_JWK["kid"], alg="EdDSA"), key=OTHER_KEY)

    with pytest.raises(UnknownKey):
        judge.verify(token)

    assert told == [1]


def test_memory_of_tokens_is_bounded() -> None:
    """However many tokens pass, only so many are remembered."""
    judge = verifier(limit=10)

    for number in range(50):
        judge.verify(mint(claims(jti=f"token-{number}")))

    assert len(judge._verified) <= 10


def test_verifying_does_no_io(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a good token, a revoked one nor an unknown key opens a connection or waits on a request's path."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("I/O on the path of a request")

    judge, good = verifier(), mint()
    unknown = mint(head=header(kid="unknown"))
    for name in ("connect", "send", "sendall", "recv"):
        monkeypatch.setattr(f"socket.{socket.socket.__name__}.{name}", refuse, raising=False)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("builtins.open", refuse)

    judge.verify(good)
    with pytest.raises(UnknownKey):
        judge.verify(unknown)

    judge.revocations.apply([Revocation(Subject.SESSION, "session-1", NOW + 1)])
    with pytest.raises(TokenRevoked):
        judge.verify(good)


def test_many_threads() -> None:
    """Threads that verify while entries come and keys change see every answer whole: good or revoked, nothing else."""
    judge, tokens = verifier(), [mint(claims(sid=f"session-{n}")) for n in range(20)]
    odd: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            for token in tokens:
                try:
                    judge.verify(token)
                except TokenRevoked:
                    pass
                except BaseException as error:  # noqa: BLE001  whatever it is, the test is to say so
                    odd.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()

    for number in range(400):
        judge.revocations.apply([Revocation(Subject.SESSION, f"session-{number % 10}", NOW + 1)])
        judge.revocations.forget_expired()
        judge.use_keys(KeySet(KEYS))
    stop.set()
    for thread in threads:
        thread.join()

    assert odd == []


@pytest.mark.parametrize("room", ["", ".strict", ".verifying"])
def test_importing_loads_no_transport(room: str) -> None:
    """A program that only verifies loads no grpc, protobuf, SQLAlchemy, Redis or pydantic."""
    unwanted = "grpc", "google", "sqlalchemy", "redis", "pydantic", "starlette", "django"
    program = f"""
import sys, authsvc_client{room}
from authsvc_client{room} import Verifier{" as _" if room != ".strict" else ""}
""".replace("import Verifier\n", "import VerifiedTokens\n")
    program += f"print([name for name in sys.modules if name.split('.')[0] in {unwanted!r}])"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
