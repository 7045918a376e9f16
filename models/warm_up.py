"""What a model is made to do before anyone waits for it: a chunk with every input that it takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import picture
from .contract import CameraMotion, Controls, Economy, ModelInfo, StreamRequest, TrackEvent

_LEVEL = 1000
_GREY = 128


def first_request(info: ModelInfo) -> StreamRequest:
    """A stream of the model's first scene, if it has scenes, and of an image that it must have."""
    scene = info.scenes[0].name if info.scenes else None
    wanted = info.inputs.image
    image = None
    if wanted is not None and wanted.required:
        image = picture.sample(wanted.width, wanted.height)
    return StreamRequest(seed=0, scene=scene, image=image)


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
    if inputs.camera is not None:
        yield Controls(camera=CameraMotion((0.1, 0.0, 0.2), (0.0, 10.0, 0.0)))
        yield Controls(camera=CameraMotion())
    if inputs.video is not None:
        yield Controls(video=still_video(info))
    # One of each kind: the others take the same paths, and a start should not wait for them.
    first_of_kind = {scene.kind: scene.name for scene in reversed(info.scenes)}
    yield from (Controls(scene=name) for name in first_of_kind.values())
    if inputs.speech is not None:
        yield usual_controls(info)
        yield Controls(clear_audio=True)
    if inputs.image is not None:
        yield Controls(image=picture.sample(inputs.image.width, inputs.image.height))
    if info.economy.tiny_decoder:
        yield Controls(reset=True, economy=Economy(tiny_decoder=True))
    yield Controls(reset=True)


def usual_controls(info: ModelInfo) -> Controls:
    """Sound and video for a whole chunk, where the model takes them: what a chunk costs at most."""
    sound = np.full(info.chunk_samples, _LEVEL, np.int16)
    return Controls(audio=sound, video=still_video(info))


def still_video(info: ModelInfo) -> np.ndarray:
    """Frames for a whole chunk, uint8 RGB [T, H, W, 3]; none for a model that takes none."""
    video = info.inputs.video
    if video is None:
        return Controls().video
    shape = (info.video_frames, video.height, video.width, 3)
    return np.full(shape, _GREY, np.uint8)
