"""What the viseme network hears in rendered clips: the stream's input in evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rollcast.models.pocket.audio import (
    CHUNK_SAMPLES,
    FUTURE_CHUNKS,
    PAST_CHUNKS,
    VisemeNet,
    to_float,
)

from .clips import Clips


@torch.no_grad()
def predicted_visemes(path: Path, clips: Clips) -> Tensor:
    """Visemes [N, T, V] heard in each clip's audio; zero for scenes."""
    net = VisemeNet()
    net.load_state_dict(torch.load(path, weights_only=True))
    heard = torch.zeros_like(clips.visemes)
    for n, audio in enumerate(clips.audio):
        if audio is not None:
            heard[n] = hear_clip(net, audio)[: clips.length]
    return heard


def hear_clip(net: VisemeNet, audio: np.ndarray) -> Tensor:
    """Visemes [frames, V] of a whole int16 clip, as a stream would hear it."""
    before = np.zeros(PAST_CHUNKS * CHUNK_SAMPLES, np.int16)
    after = np.zeros(FUTURE_CHUNKS * CHUNK_SAMPLES, np.int16)
    return net(to_float(np.concatenate([before, audio, after])))[0].clamp(min=0)
