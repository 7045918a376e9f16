"""What a model is made to do before anyone waits for it: a chunk with every input that it takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import picture
from .contract import Controls, ModelInfo, StreamRequest, TrackEvent

_LEVEL = 1000


def first_request(info: ModelInfo) -> StreamRequest:
    """A stream of the model's first scene, if it has scenes."""
    return StreamRequest(seed=0, scene=info.scenes[0].name if info.scenes else None)


def every_control(info: ModelInfo) -> Iterator[Controls]:
    """One step's controls of each kind that the model obeys."""
    inputs = info.inputs
    yield Controls()
    if inputs.prompt is not None and inputs.prompt.examples:
        yield Controls(prompt=inputs.prompt.examples[0], transition_chunks=1)
    if inputs.tracks is not None:
        yield Controls(tracks=(TrackEvent(0, "down", 0.5, 0.5), TrackEvent(1, "anchor", 0.2, 0.2)))
        yield Controls(clear_tracks=None)
    if inputs.picture is not None:
        yield Controls(picture=picture.sample(inputs.picture.size))
    # One of each kind: the others take the same paths, and a start should not wait for them.
    first_of_kind = {scene.kind: scene.name for scene in reversed(info.scenes)}
    yield from (Controls(scene=name) for name in first_of_kind.values())
    if inputs.speech is not None:
        yield speech_controls(info)
        yield Controls(clear_audio=True)
    yield Controls(reset=True)


def speech_controls(info: ModelInfo) -> Controls:
    """Sound for a whole chunk, where the model hears any."""
    return Controls(audio=np.full(info.chunk_samples, _LEVEL, np.int16))
