"""Behaviour of a head: ranges, ramps, and that expressions and speech live together."""

import numpy as np
import pytest

from training.data.behaviour import EXPRESSIONS, behave
from training.data.head import FACE_UNITS
from training.data.visemes import CHANNELS, SHAPES

LOUD = np.abs(np.sin(np.arange(100) / 5)).astype(np.float32) * 0.2


@pytest.mark.parametrize("expression", range(len(EXPRESSIONS)))
def test_controls_stay_in_range_and_move_smoothly(expression: int) -> None:
    for seed in range(8):
        acting = behave(np.random.default_rng(seed), LOUD, expression)
        assert np.abs(acting.pose[:, 0]).max() <= 0.47
        assert np.abs(np.diff(acting.pose[:, :3], axis=0)).max() < 0.08
        assert acting.blink.min() >= 0 and acting.blink.max() <= 1
        assert acting.level.min() >= 0 and acting.level.max() <= 1
        assert np.abs(np.diff(acting.level)).max() < 0.2
        assert (acting.level.max() > 0.5) == (expression > 0)


def test_weights_name_known_face_units_within_bounds() -> None:
    for expression in range(len(EXPRESSIONS)):
        acting = behave(np.random.default_rng(1), LOUD, expression)
        for frame in range(0, 100, 9):
            weights = acting.weights(frame, SHAPES["smile"])
            assert set(weights) <= set(FACE_UNITS)
            assert all(-0.01 <= w <= 1.1 for w in weights.values())


def test_expression_leaves_the_jaw_to_speech() -> None:
    wide = SHAPES["wide"]
    jaw = float(wide[CHANNELS.index("jawOpen")])
    for expression in range(len(EXPRESSIONS)):
        acting = behave(np.random.default_rng(2), LOUD, expression)
        assert acting.weights(50, wide)["jawOpen"] == pytest.approx(jaw)
        assert acting.weights(50, SHAPES["rest"]).get("jawOpen", 0.0) == 0.0
