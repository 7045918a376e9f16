"""Words: enough of them, and none shared by the splits."""

import numpy as np
import pytest

from training.data.vocabulary import sentence, words


def test_splits_share_no_word() -> None:
    train, test = set(words("train")), set(words("test"))
    assert not train & test
    assert len(train) > 2000 and len(test) > 300


def test_sentences_use_words_of_their_split() -> None:
    for split in ("train", "test"):
        said = {w for k in range(30) for w in sentence(np.random.default_rng(k), split).split()}
        assert said <= set(words(split))


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="'train' or 'test'"):
        words("validation")
