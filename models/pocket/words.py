"""Any text into words, of any script: as they stand, and without accents to be looked up."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_JOINERS = "\u200c\u200d"
_APOSTROPHES = "'’"
_FIRST_PICTOGRAM = 0x2300


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: how it stands there, and `plain`, in lower case without accents."""

    text: str
    plain: str


def words_of(text: str) -> list[Word]:
    """Every run of letters, digits and their marks, and every run of pictograms."""
    return [Word(run.lower(), _plain(run)) for run in _runs(unicodedata.normalize("NFC", text))]


def _runs(text: str) -> Iterator[str]:
    run, kind = "", ""
    for place, sign in enumerate(text):
        following = text[place + 1 : place + 2]
        found = _kind(sign)
        if kind and (found == "mark" or _is_inner(sign, following)):
            run += sign
            continue
        if run and found != kind:
            yield run
            run = ""
        kind = found if found in ("letter", "picture") else ""
        run += sign if kind else ""
    if run:
        yield run


def _is_inner(sign: str, following: str) -> bool:
    """An apostrophe within a word, as in "woman's"."""
    return sign in _APOSTROPHES and _kind(following) == "letter"


def _kind(sign: str) -> str:
    if not sign:
        return ""
    category = unicodedata.category(sign)
    if category[0] in "LN":
        return "letter"
    if category[0] == "M" or sign in _JOINERS or (category == "Sk" and ord(sign) > 0xFFFF):
        return "mark"
    return "picture" if category == "So" and ord(sign) >= _FIRST_PICTOGRAM else ""


def _plain(word: str) -> str:
    spread = unicodedata.normalize("NFKD", word).casefold()
    bare = "".join(sign for sign in spread if unicodedata.category(sign) != "Mn")
    for apostrophe in _APOSTROPHES:
        bare = bare.removesuffix(f"{apostrophe}s")
    return bare
