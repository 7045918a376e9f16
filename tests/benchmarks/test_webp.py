"""Clips are as large as they may be."""

import numpy as np
import pytest

from rollcast.benchmarks.webp import fitted, labelled


def test_a_clip_is_made_to_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 48, 3), np.uint8)
    pictures = labelled([noise], ["noise"])
    best = fitted(pictures, 10**9)
    small = fitted(pictures, len(best) // 2)
    assert len(small) <= len(best) // 2
    with pytest.raises(ValueError, match="fewer streams"):
        fitted(pictures, 100)
