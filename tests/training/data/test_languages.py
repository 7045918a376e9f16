"""Words of other languages: none is shared by the splits, and all of them are there."""

import numpy as np
import pytest

from training.data.languages import LANGUAGES, sentence, words


@pytest.mark.parametrize("code", LANGUAGES)
def test_training_and_test_share_no_word(code: str) -> None:
    train, test = (
        {word for part in words(code, split) for word in part} for split in ("train", "test")
    )
    assert not train & test
    assert len(train) > 5 * len(test) > 300


def test_the_same_seed_says_the_same_and_languages_differ() -> None:
    said = {code: sentence(np.random.default_rng(5), code, "train") for code in LANGUAGES}
    assert len(set(said.values())) == len(LANGUAGES)
    assert sentence(np.random.default_rng(5), "fr", "train") == said["fr"]
    assert all(3 <= len(text.split()) <= 9 for text in said.values())


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"unknown language 'tlh'.*de, es"):
        words("tlh", "train")
    with pytest.raises(ValueError, match="'train' or 'test'"):
        words("de", "said")
