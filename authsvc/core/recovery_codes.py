"""Owns recovery codes: how they look, and how they are hashed. Leaves using each only once to the store.

Ten codes of 80 random bits, in groups of four characters. At that length guesses need no counting (NIST SP 800-63B-4
§3.1.2.2 asks for it below 64 bits); so a recovery code still opens an account while somebody guesses at its TOTP codes.

Only keyed hashes are stored. The key comes from the TOTP secret, which is sealed under a deployment secret: a leaked
database is no help in guessing, and moving to another deployment secret leaves the codes good.
"""

import base64
import hmac
import re
from collections.abc import Sequence

from authsvc.core.ids import RandomBytes
from authsvc.core.secrets import derive_key

COUNT = 10
_CODE_BYTES = 10
_SHAPE = re.compile(r"[a-z2-7]{16}")


def new_codes(random_bytes: RandomBytes) -> tuple[str, ...]:
    """Return fresh codes, for the user's eyes only."""
    return tuple(_grouped(_text(random_bytes(_CODE_BYTES))) for _ in range(COUNT))


def canonical(text: str) -> str | None:
    """Return a code as it is hashed, however it was typed. None: it is no recovery code at all."""
    code = "".join(text.split()).replace("-", "").lower()
    return code if _SHAPE.fullmatch(code) else None


def hash_code(totp_secret: bytes, code: str) -> bytes:
    """Return the hash of a canonical code, 32 bytes."""
    return hmac.digest(derive_key(totp_secret, b"recovery codes"), code.encode(), "sha256")


def hash_codes(totp_secret: bytes, codes: Sequence[str]) -> tuple[bytes, ...]:
    """Return the hashes of codes that `new_codes` made."""
    return tuple(hash_code(totp_secret, code.replace("-", "")) for code in codes)


def _text(code: bytes) -> str:
    return base64.b32encode(code).decode().lower()


def _grouped(code: str) -> str:
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))
