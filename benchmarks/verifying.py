"""Owns what checking an access token costs where nothing is called at all. Leaves the checks to authsvc_client.strict.

Tokens are those that authsvc issues; CPU is this process's own. Audience and scope are checked too, as on each call.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import perf_counter, process_time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authsvc.core.access_tokens import AccessTokens
from authsvc.core.clock import MINUTE
from authsvc.core.model import User
from authsvc.core.signing_keys import KeyRing, Keys, ring_from_pem
from authsvc.outside import wall_clock
from authsvc_client.strict import VerifiedTokens, require_audience, require_scopes, verify_access_token
from benchmarks.samples import Sample, percentile
from benchmarks.seed import AUDIENCES, SCOPES, new_session
from benchmarks.service import ISSUER

_TOKENS = 1_000
_AUDIENCE = AUDIENCES[0]
_NEEDED = frozenset(SCOPES[:1])


@dataclass(frozen=True)
class _Issued:
    ring: KeyRing
    tokens: list[str]


@cache
def _issued() -> _Issued:
    now = wall_clock()
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ring = ring_from_pem(pem, now)
    access = AccessTokens(ISSUER, 15 * MINUTE, Keys(ring), os.urandom)
    session = new_session(User("0198c0de-0000-7000-8000-000000000001", "alice", SCOPES, now, None, now))
    return _Issued(ring, [access.issue(session, AUDIENCES, SCOPES, now).text for _ in range(_TOKENS)])


def cold(seconds: float) -> Sample:
    """Strict verification of a token as if it had never been seen."""
    keys = _issued().ring.key_set

    def check(text: str) -> None:
        token = verify_access_token(text, keys, issuer=ISSUER, now=wall_clock())
        require_audience(token, _AUDIENCE)
        require_scopes(token, _NEEDED)

    return _timed(check, seconds)


def warm(seconds: float) -> Sample:
    """Strict verification of a token that has passed before."""
    keys, verified = _issued().ring.key_set, VerifiedTokens(ISSUER)

    def check(text: str) -> None:
        token = verified.verify(text, keys, now=wall_clock())
        require_audience(token, _AUDIENCE)
        require_scopes(token, _NEEDED)

    for text in _issued().tokens:
        check(text)
    return _timed(check, seconds)


def pyjwt(seconds: float) -> Sample:
    """PyJWT with a prebuilt key, checking what it can check."""
    key = jwt.PyJWK.from_json(_issued().ring.keys[0].public_jwk)

    def check(text: str) -> None:
        claims = jwt.decode(text, key, algorithms=["ES256"], issuer=ISSUER, audience=_AUDIENCE)
        assert claims["scope"] == " ".join(SCOPES)

    return _timed(check, seconds)


def _timed(check: Callable[[str], None], seconds: float) -> Sample:
    """Check one token after another: first to time each, then, without clocks in between, to count CPU."""
    latencies = []
    stop_at = perf_counter() + seconds / 4
    for text in itertools.cycle(_issued().tokens):
        started = perf_counter()
        check(text)
        latencies.append(perf_counter() - started)
        if started > stop_at:
            break
    count, cpu, started = 0, process_time(), perf_counter()
    while perf_counter() - started < seconds:
        for text in _issued().tokens[:100]:
            check(text)
        count += 100
    return Sample(
        cpu_us=(process_time() - cpu) / count * 1e6,
        rate=count / (perf_counter() - started),
        p50_ms=1000 * percentile(latencies, 0.5),
        p99_ms=1000 * percentile(latencies, 0.99),
    )
