"""Speech to visemes, live: log-mel features and a small convolutional network over a fixed view.

Look-ahead is one chunk. For each chunk the network sees a fixed span of samples (two chunks of
past, the chunk itself, one chunk of future) and is valid-convolved over it, so streaming in
chunks equals running over the whole file, and cost and memory do not depend on stream length.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 640  # one video frame at 25 frames/s
CHUNK_FRAMES = 4
CHUNK_SAMPLES = CHUNK_FRAMES * FRAME_SAMPLES
HOP = 160
WINDOW = 400
MELS = 64
MEL_PER_FRAME = FRAME_SAMPLES // HOP
PAST_CHUNKS = 2
FUTURE_CHUNKS = 1
VIEW_SAMPLES = (PAST_CHUNKS + 1 + FUTURE_CHUNKS) * CHUNK_SAMPLES
LOOKAHEAD_MS = 1000 * FUTURE_CHUNKS * CHUNK_SAMPLES // SAMPLE_RATE
# frames of context that the network's taps need before and after a video frame
PAST_FRAMES = 8
FUTURE_FRAMES = 4


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


@cache
def mel_filters() -> Tensor:
    """Triangular mel filters over 60 Hz to 7.6 kHz, [MELS, WINDOW // 2 + 1]."""
    low, high = _mel(60), _mel(7600)
    corners = torch.tensor(
        [700 * (10 ** ((low + (high - low) * k / (MELS + 1)) / 2595) - 1) for k in range(MELS + 2)]
    )
    bins = torch.arange(WINDOW // 2 + 1) * (SAMPLE_RATE / WINDOW)
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def log_mel(samples: Tensor) -> Tensor:
    """Log-mel of float samples in -1..1 [B, S]: [B, (S - WINDOW) // HOP + 1, MELS], about -1..1.

    Row j covers samples [j * HOP, j * HOP + WINDOW): no padding, so a row never depends on where
    the view begins.
    """
    frames = samples.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(frames).abs().square() / WINDOW
    return (torch.log10(power @ mel_filters().T + 1e-7) + 3.5) / 2.0


class VisemeNet(nn.Module):
    """Log-mel rows -> viseme weights at the video frame rate."""

    def __init__(self, visemes: int = 16, width: int = 128) -> None:
        super().__init__()
        self.enter = nn.Conv1d(MELS, width, 5)
        self.stride = nn.Conv1d(width, width, MEL_PER_FRAME, stride=MEL_PER_FRAME)
        self.wide = nn.ModuleList([nn.Conv1d(width, width, 5) for _ in range(2)])
        self.near = nn.Conv1d(width, width, 3)
        self.leave = nn.Conv1d(width, visemes, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Visemes [B, frames, V] of float samples [B, S].

        Of the S / 640 video frames covered, the first 8 and the last 4 serve as context and
        have no output.
        """
        return self.read(log_mel(samples), samples.shape[-1] // FRAME_SAMPLES)

    def read(self, mel: Tensor, frames: int) -> Tensor:
        """As `forward`, of log-mel rows [B, rows, MELS] that cover so many video frames."""
        # rows 4f-2 .. 4f+5 of frame f: 5-tap convolution, then one output per 4 rows
        rows = mel[:, MEL_PER_FRAME - 2 : MEL_PER_FRAME * (frames - 1) + 2].transpose(1, 2)
        x = F.silu(self.stride(F.silu(self.enter(rows))))
        for layer in self.wide:  # taps -3..+1
            x = x[..., 3:-1] + F.silu(layer(x))
        x = x[..., 1:-1] + F.silu(self.near(x))
        return self.leave(x[..., : frames - PAST_FRAMES - FUTURE_FRAMES]).transpose(1, 2)


def to_float(samples: np.ndarray) -> Tensor:
    """int16 samples -> float32 in -1..1, shape [1, S]."""
    return torch.from_numpy(samples.astype(np.float32) / 32768)[None]


def check_samples(samples: np.ndarray) -> None:
    """Raise ValueError for more samples than a step takes."""
    if len(samples) > CHUNK_SAMPLES:
        raise ValueError(
            f"audio of one step has {len(samples)} samples; at most {CHUNK_SAMPLES} fit, feed the "
            "rest with the next step"
        )


class SpeechView:
    """The last `VIEW_SAMPLES` of one stream's microphone, int16; moves on a chunk at a time."""

    def __init__(self) -> None:
        self.samples = np.zeros(VIEW_SAMPLES, np.int16)

    def push(self, samples: np.ndarray) -> None:
        """Append one chunk; shorter input is padded with silence at its end.

        Raises ValueError when given more than a chunk.
        """
        check_samples(samples)
        newest = VIEW_SAMPLES - CHUNK_SAMPLES
        self.samples[:newest] = self.samples[CHUNK_SAMPLES:]
        self.samples[newest : newest + len(samples)] = samples
        self.samples[newest + len(samples) :] = 0

    def clear_future(self) -> None:
        """Forget what was heard and has not been shown yet (barge-in)."""
        self.samples[-FUTURE_CHUNKS * CHUNK_SAMPLES :] = 0

    @property
    def current(self) -> np.ndarray:
        """The chunk whose frames are generated now, int16 [CHUNK_SAMPLES]."""
        start = PAST_CHUNKS * CHUNK_SAMPLES
        return self.samples[start : start + CHUNK_SAMPLES].copy()

    def visemes(self, net: VisemeNet) -> Tensor:
        """Viseme weights of the current chunk's frames, [CHUNK_FRAMES, V]."""
        return net(to_float(self.samples))[0, -CHUNK_FRAMES:]
