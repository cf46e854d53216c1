"""The list of common passwords: where it comes from, and that telling takes no time."""

import gzip
from pathlib import Path
from time import process_time

import django.contrib.auth

from authsvc.core.common_passwords import SHORTEST_WORD, common_words, is_common

DJANGOS = Path(django.contrib.auth.__file__).parent / "common-passwords.txt.gz"


def test_the_list_is_djangos() -> None:
    """The words are those of Django's list that are of 4 to 24 letters and digits; some may have been added since."""
    lines = gzip.decompress(DJANGOS.read_bytes()).decode().splitlines()
    words = {line.casefold() for line in lines if line.isascii() and line.isalnum()}

    wanted = {word for word in words if SHORTEST_WORD <= len(word) <= 24}

    assert len(common_words()) > 19_000
    assert len(common_words() - wanted) < 100


def test_telling_takes_no_time() -> None:
    """However a text is built, telling is a matter of milliseconds: nobody can keep the service busy with it."""
    begun = process_time()

    for text in (
        "1234" * 16,
        "abcd1234" * 8,
        "a" * 64,
        "qwertyasdf" * 6,
        "111111" * 10 + "zzz",
        "x" * 100_000,
    ):
        is_common(text, frozenset({"abcd", "1234", "qwer"}))

    assert process_time() - begun < 1
