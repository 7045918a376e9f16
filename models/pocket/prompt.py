"""Free wording -> weighted attribute tokens, by a vocabulary that ships with the weights.

A prompt chooses what to show (the look whose attributes it names) and how it behaves (the
expression tokens, which condition the student through its text cross-attention).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .words import words_of

EXPRESSION = "expression"
# how many words on the second word of a wording may stand
_REACH = 3
_STRENGTHS = {
    "slightly": 0.5,
    "somewhat": 0.6,
    "bit": 0.5,
    "little": 0.5,
    "very": 1.0,
    "really": 1.0,
}
Group = Literal["expression", "identity", "scene"]


@dataclass(frozen=True, slots=True)
class Token:
    """One attribute: its name, group, and its wordings, each of one or two words."""

    name: str
    group: Group
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """Weights of the vocabulary's tokens named by a prompt, and the words that meant nothing.

    These stand as they were written, in lower case.
    """

    weights: Mapping[str, float]
    ignored_words: tuple[str, ...]


class Vocabulary:
    """The attribute tokens a model knows, and the words that it may pass over in silence."""

    def __init__(self, tokens: Sequence[Token], fillers: Iterable[str] = ()) -> None:
        self.fillers = frozenset(fillers)
        self.tokens = tuple(tokens)
        self.index = {token.name: k for k, token in enumerate(self.tokens)}
        wordings = [(tuple(w.split()), token.name) for token in self.tokens for w in token.words]
        self._single = {words[0]: name for words, name in wordings if len(words) == 1}
        self._pairs = {words: name for words, name in wordings if len(words) == 2}

    def parse(self, text: str) -> ParsedPrompt:
        """Tokens named in `text`; "slightly", "very" before a word set its weight (default 1).

        The two words of a wording such as "grey hair" may stand apart ("grey curly hair").
        """
        found = words_of(text)
        words = [word.plain for word in found]
        weights: dict[str, float] = {}
        used: set[int] = set()
        for first, second in self._pair_places(words):
            name = self._pair_of(words[first], words[second])
            if name is not None and first not in used:
                weights[name] = _strength(words, first)
                used |= {first, second}
        for place, word in enumerate(words):
            name = self._single_of(word)
            if name is not None and place not in used:
                weights[name] = _strength(words, place)
                used.add(place)
        known = self.fillers | _STRENGTHS.keys()
        ignored = (
            word.text for k, word in enumerate(found) if k not in used and word.plain not in known
        )
        return ParsedPrompt(weights, tuple(dict.fromkeys(ignored)))

    def _pair_places(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        for first in range(len(words)):
            for second in range(first + 1, min(first + 1 + _REACH, len(words))):
                yield first, second

    def _pair_of(self, first: str, second: str) -> str | None:
        return next(
            (self._pairs[first, s] for s in _forms(second) if (first, s) in self._pairs), None
        )

    def _single_of(self, word: str) -> str | None:
        return next((self._single[form] for form in _forms(word) if form in self._single), None)

    def group(self, name: str) -> Group:
        """The group of a token."""
        return self.tokens[self.index[name]].group

    def choose(
        self,
        weights: Mapping[str, float],
        looks: Mapping[str, frozenset[str]],
        current: str,
    ) -> str:
        """The look whose attributes `weights` names best; `current` when none is named.

        Ties go to `current`, then to the first look.
        """
        named = {name for name in weights if self.group(name) != EXPRESSION}
        if not named:
            return current
        scores = {look: len(named & attributes) for look, attributes in looks.items()}
        best = max(scores.values())
        if best == 0 or scores.get(current) == best:
            return current
        return next(look for look, score in scores.items() if score == best)


def _forms(word: str) -> tuple[str, ...]:
    return (word, word.removesuffix("s"), word.removesuffix("es"))


def _strength(words: Sequence[str], place: int) -> float:
    return _STRENGTHS.get(words[place - 1], 1.0) if place else 1.0


class TokenEmbedding(nn.Module):
    """Weighted tokens -> text context [1, L, text_dim]; unused rows are zero, as padding."""

    def __init__(self, tokens: int, text_len: int, text_dim: int) -> None:
        super().__init__()
        self.text_len = text_len
        self.table = nn.Parameter(torch.randn(tokens, text_dim))

    def forward(self, weights: Tensor) -> Tensor:
        """`weights` [B, tokens] -> [B, text_len, text_dim], the strongest tokens first."""
        count = min(self.text_len, weights.shape[-1])
        strongest, index = weights.topk(count, dim=-1)
        rows = strongest[..., None] * self.table[index]
        return torch.nn.functional.pad(rows, (0, 0, 0, self.text_len - count))


def weight_vector(vocabulary: Vocabulary, weights: Mapping[str, float]) -> Tensor:
    """Token weights as a vector [1, tokens]."""
    vector = torch.zeros(1, len(vocabulary.tokens))
    for name, weight in weights.items():
        vector[0, vocabulary.index[name]] = weight
    return vector
