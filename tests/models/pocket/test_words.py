"""Words of any script are found whole, so that each is used or reported."""

import unicodedata

import pytest

from rollcast.models.pocket.prompt import Token, Vocabulary
from rollcast.models.pocket.words import words_of

VOCABULARY = Vocabulary(
    [Token("smiling", "expression", ("smiling", "smile")), Token("cafe", "scene", ("cafe",))],
    fillers=("a", "woman", "in"),
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red-haired Woman, smiling!", ["a", "red", "haired", "woman", "smiling"]),
        ("微笑的女人", ["微笑的女人"]),
        ("微笑的女人\uff0c海边", ["微笑的女人", "海边"]),
        ("étonnée", ["étonnée"]),
        (unicodedata.normalize("NFD", "étonnée"), ["étonnée"]),
        ("улыбающаяся женщина", ["улыбающаяся", "женщина"]),
        ("मुस्कुराती हुई", ["मुस्कुराती", "हुई"]),
        ("امرأة مبتسمة", ["امرأة", "مبتسمة"]),
        ("می‌خندد", ["می‌خندد"]),
        ("woman’s smile isn't", ["woman’s", "smile", "isn't"]),
        ("'smile'", ["smile"]),
        ("4k, 30 years", ["4k", "30", "years"]),
        ("smile 😀👩‍🚀 now", ["smile", "😀👩‍🚀", "now"]),
        ("👍🏽", ["👍🏽"]),
        (" -- … (!) _ ", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [word.text for word in words_of(text)] == words


@pytest.mark.parametrize(
    ("text", "known", "ignored"),
    [
        ("微笑的女人", set(), ("微笑的女人",)),
        ("a woman, étonnée", set(), ("étonnée",)),
        ("Smíling in a CAFÉ", {"smiling", "cafe"}, ()),
        ("\uff53\uff4d\uff49\uff4c\uff45", {"smiling"}, ()),
        ("a woman’s smile", {"smiling"}, ()),
        ("smile 😀 30", {"smiling"}, ("😀", "30")),
        ("quux, QUUX, Quüx", set(), ("quux", "quüx")),
    ],
)
def test_what_is_not_used_is_reported(text: str, known: set[str], ignored: tuple[str, ...]) -> None:
    parsed = VOCABULARY.parse(text)
    assert set(parsed.weights) == known
    assert parsed.ignored_words == ignored
