"""Free wording becomes weighted tokens; a look is chosen by what the words name."""

import pytest
import torch

from rollcast.models.pocket.prompt import Token, TokenEmbedding, Vocabulary, weight_vector

VOCABULARY = Vocabulary(
    [
        Token("smiling", "expression", ("smiling", "smile", "happy")),
        Token("beard", "identity", ("beard", "bearded")),
        Token("red", "identity", ("red",)),
        Token("grey hair", "identity", ("grey hair", "grey haired")),
        Token("sea", "scene", ("sea", "ocean", "fish")),
    ],
    fillers=("a", "man", "with"),
)
LOOKS = {
    "omar-red": frozenset({"beard", "red"}),
    "omar-blue": frozenset({"beard"}),
    "sea": frozenset({"sea"}),
}


def test_words_map_to_tokens_and_unknown_words_are_told() -> None:
    parsed = VOCABULARY.parse("A HAPPY, bearded man with a quux!")
    assert parsed.weights == {"smiling": 1.0, "beard": 1.0}
    assert parsed.ignored_words == ("quux",)


def test_strength_words_weigh_the_next_token_only() -> None:
    parsed = VOCABULARY.parse("slightly smiling, red")
    assert parsed.weights == {"smiling": 0.5, "red": 1.0}


def test_two_word_wordings_may_stand_apart_and_beat_single_words() -> None:
    vocabulary = Vocabulary(
        [
            Token("red hair", "identity", ("red hair",)),
            Token("long hair", "identity", ("long hair",)),
            Token("red clothes", "identity", ("red", "red shirt")),
        ]
    )
    assert set(vocabulary.parse("long red hair").weights) == {"long hair", "red hair"}
    assert set(vocabulary.parse("long hair, a red shirt").weights) == {"long hair", "red clothes"}
    assert set(vocabulary.parse("red").weights) == {"red clothes"}


@pytest.mark.parametrize(
    ("text", "current", "chosen"),
    [
        ("smiling", "omar-blue", "omar-blue"),
        ("fishes", "omar-blue", "sea"),
        ("beard", "omar-blue", "omar-blue"),
        ("red beard", "omar-blue", "omar-red"),
        ("beard", "sea", "omar-red"),
        ("nothing known", "sea", "sea"),
    ],
)
def test_look_follows_the_prompt(text: str, current: str, chosen: str) -> None:
    assert VOCABULARY.choose(VOCABULARY.parse(text).weights, LOOKS, current) == chosen


def test_context_has_the_weighted_rows_and_zero_padding() -> None:
    embedding = TokenEmbedding(tokens=5, text_len=6, text_dim=8)
    context = embedding(weight_vector(VOCABULARY, {"red": 0.5}))
    assert context.shape == (1, 6, 8)
    torch.testing.assert_close(context[0, 0], 0.5 * embedding.table[2])
    assert not context[0, 1:].any()
