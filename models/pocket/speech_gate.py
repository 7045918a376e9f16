"""How loud speech is, frame by frame, and whether the mouth may move at all."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .audio import CHUNK_FRAMES, FRAME_SAMPLES, SpeechView

# speech level (share of full scale) from where on a frame counts as speech, and is fully so
_QUIET, SPEAKING = 0.0025, 0.008


def speech_levels(speech: SpeechView) -> np.ndarray:
    """RMS level of the frames of the chunk before, the current chunk and the one ahead [12]."""
    recent = speech.samples[-3 * CHUNK_FRAMES * FRAME_SAMPLES :].astype(np.float32) / 32768
    return np.sqrt(np.square(recent).reshape(3 * CHUNK_FRAMES, FRAME_SAMPLES).mean(1))


def speech_gate(levels: np.ndarray) -> Tensor:
    """0..1 for each current frame [4, 1]: a mouth does not move in silence."""
    around = np.stack([levels[CHUNK_FRAMES + k : 2 * CHUNK_FRAMES + k] for k in (-2, -1, 0, 1, 2)])
    gate = np.clip((around.max(0) - _QUIET) / (SPEAKING - _QUIET), 0, 1)
    return torch.from_numpy(gate.astype(np.float32))[:, None]
