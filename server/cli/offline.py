"""A model run from a script of controls without a server: the same steps, as fast as they go."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from ...client.track_file import TrackScript
from ...models.contract import (
    Chunk,
    Controls,
    Model,
    ModelInfo,
    TrackEvent,
)

TAIL_S = 0.5
"""How long the picture goes on after the last word, when nothing else says how long."""


def chunk_count(info: ModelInfo, seconds: float | None, speech: np.ndarray) -> int:
    """How many chunks to generate: `seconds`, else the speech and a little, else 10 s."""
    if seconds is None:
        heard_s = len(speech) / info.sample_rate
        seconds = heard_s + info.lookahead_ms / 1000 + TAIL_S if len(speech) else 10.0
    return max(1, ceil(seconds * 1e6 / info.chunk_us))


def chunk_controls(
    info: ModelInfo, number: int, speech: np.ndarray, script: TrackScript
) -> Controls:
    """What the script asks of chunk `number`."""
    begin_ms, end_ms = number * info.chunk_us / 1e3, (number + 1) * info.chunk_us / 1e3
    prompt = script.prompt_between(begin_ms, end_ms)
    sample = number * info.chunk_samples
    return Controls(
        prompt=None if prompt is None else prompt.text,
        transition_chunks=0 if prompt is None else prompt.transition_chunks,
        audio=speech[sample : sample + info.chunk_samples],
        tracks=tuple(
            TrackEvent(p.id, p.phase, p.x, p.y) for p in script.points_between(begin_ms, end_ms)
        ),
    )


def generate(
    model: Model, state: object, chunks: int, speech: np.ndarray, script: TrackScript
) -> Iterator[Chunk]:
    """The stream's chunks, one by one."""
    for number in range(chunks):
        yield model.step(state, chunk_controls(model.info, number, speech, script))
