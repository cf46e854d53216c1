"""Owns telling whether a password is made of what many people use. Leaves what to do about it to core.password_rules.

The words are those of `common_passwords.txt`, which says where they come from. Somebody who must choose a long password
puts two such words together, or one several times, and adds a year: that is what this looks for, however it is written.
"""

from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_LIST = "common_passwords.txt"
# Shorter ones are in everything.
SHORTEST_WORD = 4
_LONGEST_WORD = 24
_WORDS_MAX = 2
# So much else makes them no better: a few letters, a date.
_LETTERS_MAX = 2
_DIGITS_MAX = 8
# Longer texts hold more than that.
_LONGEST_TEXT = 64
_SPELLED = str.maketrans("@4301!$57", "aaeoiisst")
_IsWord = Callable[[str], bool]


class _Taken(NamedTuple):
    """A text taken apart up to a place: the words in it, and what was left over."""

    upto: int
    words: frozenset[str]
    letters: int
    digits: int


def is_common(folded: str, own_words: Collection[str] = ()) -> bool:
    """Whether a case-folded text is at most two different words, repeated or not, with digits and signs around them.

    `own_words`: words that are no secret either, such as the user's name.
    """
    known = common_words()

    def is_word(text: str) -> bool:
        return text in known or text in own_words

    packed = {_packed(folded), _packed(folded.translate(_SPELLED))}
    return any(_is_made_up(text, is_word) for text in packed if 0 < len(text) <= _LONGEST_TEXT)


@cache
def common_words() -> frozenset[str]:
    """Return the words, case-folded. Read when the first password is set."""
    text = files("authsvc.core").joinpath(_LIST).read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _packed(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def _is_made_up(text: str, is_word: _IsWord) -> bool:
    """Whether some way of taking the text apart leaves nothing over."""
    seen = set()
    to_try = [_Taken(0, frozenset(), 0, 0)]
    while to_try:
        taken = to_try.pop()
        if taken.upto == len(text) and taken.words:
            return True
        if taken in seen or taken.upto == len(text):
            continue
        seen.add(taken)
        to_try += _further(text, taken, is_word)
    return False


def _further(text: str, taken: _Taken, is_word: _IsWord) -> Iterator[_Taken]:
    start, words, letters, digits = taken
    is_digit = text[start].isdigit()
    passed_over = _Taken(start + 1, words, letters + (not is_digit), digits + is_digit)
    if passed_over.letters <= _LETTERS_MAX and passed_over.digits <= _DIGITS_MAX:
        yield passed_over
    for end in range(start + SHORTEST_WORD, min(start + _LONGEST_WORD, len(text)) + 1):
        word = text[start:end]
        if is_word(word) and len(words | {word}) <= _WORDS_MAX:
            yield taken._replace(upto=end, words=words | {word})
