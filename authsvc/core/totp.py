"""Owns time-based one-time passwords (RFC 6238): secrets, codes, and which time step a code is of.

Leaves remembering which steps were used, and counting guesses, to core.one_time_codes.

SHA-1, six digits and thirty seconds: what every authenticator app knows, and some ignore being told otherwise. A secret
has 160 bits (RFC 4226 §4, R6).
"""

import base64
import hmac

import pyotp

from authsvc.core.clock import SECOND
from authsvc.core.ids import RandomBytes

DIGITS = 6
STEP_MS = 30 * SECOND
_SECRET_BYTES = 20
# One step either way, for clocks that differ and people who type slowly (RFC 6238 §5.2).
_DRIFT = 1


def new_secret(random_bytes: RandomBytes) -> bytes:
    """Return a fresh secret."""
    return random_bytes(_SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """Return the secret as people type it into an app: base32, without padding."""
    return base64.b32encode(secret).decode()


def provisioning_uri(secret: bytes, issuer: str, username: str) -> str:
    """Return the `otpauth://totp/…` text that apps read from a QR code."""
    return _totp(secret).provisioning_uri(name=username, issuer_name=issuer)


def is_code(text: str) -> bool:
    """Whether the text is a code at all: six digits."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()


def matching_step(secret: bytes, code: str, now: int, after: int) -> int | None:
    """Return the time step around `now`, later than `after`, that the code is of. None: of none."""
    step, totp = now // STEP_MS, _totp(secret)
    matching = None
    for candidate in range(step - _DRIFT, step + _DRIFT + 1):
        # Each is computed and compared, whichever matches, so that time tells nothing.
        matches = hmac.compare_digest(totp.generate_otp(candidate), code)
        if matches and candidate > after:
            matching = candidate
    return matching


def _totp(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(secret_text(secret), digits=DIGITS, interval=STEP_MS // SECOND)
