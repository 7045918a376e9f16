"""The words of the pocket model: tokens from the data set's attributes, with their wordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollcast.models.pocket.prompt import Group, Token, Vocabulary

_HAIR = ("hair", "haired")
_CLOTHES = (
    "clothes", "shirt", "sweater", "jumper", "jacket", "pullover", "top", "dress", "suit", "blazer",
)  # fmt: skip
_BACKGROUND = ("background", "backdrop", "wall", "backgrounds")
_SKIN = ("skin", "skinned")
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "woman": ("female", "lady", "girl"),
    "man": ("male", "guy", "gentleman", "boy"),
    "old": ("elderly", "senior", "older", "aged"),
    "young": ("younger",),
    "glasses": ("spectacles", "eyeglasses"),
    "beard": ("bearded", "stubble"),
    "smiling": ("smile", "happy", "cheerful", "joyful", "grinning", "laughing", "glad", "friendly"),
    "sad": ("unhappy", "sorrowful", "depressed", "down", "melancholic"),
    "surprised": ("astonished", "amazed", "shocked", "wow", "startled"),
    "angry": ("furious", "cross", "mad", "annoyed", "grumpy"),
    "sleepy": ("tired", "drowsy", "bored", "weary"),
    "toys": ("toy", "table", "playroom"),
    "sea": ("ocean", "underwater", "aquarium", "water"),
    "space": ("stars", "universe", "galaxy", "cosmos"),
    "meadow": ("field", "grass", "countryside", "pasture", "hill", "flower"),
    "balloon": ("airship",),
    "sheep": ("lamb",),
    "butterfly": ("butterflies",),
    "grey": ("gray",),
    "cropped": ("buzzed",),
    "striped": ("stripes", "stripy"),
    "blonde": ("blond",),
}
_FILLER_TEXT = """
a an and the of in on with who is are be please show me make it him her them they she he this that
to at by person someone somebody look looks looking wearing wears has have having speaking talking
now then but more some head face portrait avatar scene video neutral calm character people desk
"""
# looks that came when there were trained word tables: their tokens are the last ones, and a table
# that knew all before them grows by rows
_ADDED = ("meadow",)
FILLERS = tuple(_FILLER_TEXT.split())


def _wordings(value: str, nouns: Iterable[str]) -> tuple[str, ...]:
    """Every "adjective noun" of a one- or two-word value and its synonyms."""
    adjectives = (value.split()[-1], *_SYNONYMS.get(value, ()))
    return tuple(f"{adjective} {noun}" for adjective in adjectives for noun in nouns)


def _plain(value: str) -> tuple[str, ...]:
    return (value, *_SYNONYMS.get(value, ()))


def attribute_tokens(entry: Mapping[str, Any]) -> list[Token]:
    """The tokens of one look of the data set's index."""
    if not entry["ships"]:
        return []
    if entry["kind"] == "scene":
        things = [thing["word"] for thing in entry["things"] if "pan" not in thing]
        names = dict.fromkeys([entry["name"], *things])
        return [Token(name, "scene", _plain(name)) for name in names]
    words: Mapping[str, str] = entry["details"]
    group: Group = "identity"
    made: list[tuple[str, tuple[str, ...]]] = []
    for key, value in words.items():
        if key in ("gender", "age"):
            made.append((value, _plain(value)))
        elif key == "skin":
            made.append((f"{value} skin", _wordings(value, _SKIN)))
        elif key in ("hair_colour", "hair_length"):
            extra = (value,) if value in ("blonde", "bob", "curly") else ()
            made.append((f"{value} hair", (*_wordings(value, _HAIR), *extra)))
        elif key in ("glasses", "beard"):
            if value == "yes":
                made.append((key, _plain(key)))
        elif key == "clothes":
            made.append((f"{value} clothes", (*_wordings(value, _CLOTHES), value.split()[-1])))
        elif key == "background":
            made.append((f"{value} background", _wordings(value, _BACKGROUND)))
        else:
            raise ValueError(f"look {entry['name']}: no tokens for the detail {key!r}")
    person, place = entry["name"].split("-", 1)
    made += [(person, (person,)), (place, (place,))]
    return [Token(name, group, wordings) for name, wordings in made]


def build_vocabulary(index: Mapping[str, Any]) -> tuple[Vocabulary, dict[str, frozenset[str]]]:
    """The vocabulary of a data set, and each look's token names."""
    tokens: dict[str, Token] = {}
    added: dict[str, Token] = {}
    looks: dict[str, frozenset[str]] = {}
    for entry in index["looks"]:
        own = attribute_tokens(entry)
        looks[entry["name"]] = frozenset(token.name for token in own)
        kind = added if entry["name"] in _ADDED else tokens
        kind |= {token.name: token for token in own if token.name not in kind}
    for name in index["expressions"]:
        if name != "neutral":
            tokens[name] = Token(name, "expression", _plain(name))
    tokens |= {name: token for name, token in added.items() if name not in tokens}
    return Vocabulary(list(tokens.values()), FILLERS), looks
