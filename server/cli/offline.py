"""A model run from a script of controls without a server: the same steps, as fast as they go."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice
from math import ceil

import numpy as np

from ...client.track_file import TrackScript
from ...models.contract import CameraMotion, Chunk, Controls, Model, ModelInfo, TrackEvent
from ..session.speech_budget import SpeechBudget

TAIL_S = 0.5
"""How long the picture goes on after the last word, when nothing else says how long."""


def frame_count(info: ModelInfo, seconds: float | None, speech: np.ndarray) -> int:
    """How many frames to show at least: `seconds`, else the speech and a little, else 10 s."""
    hears = info.inputs.speech
    if seconds is None and hears is not None and len(speech):
        seconds = len(speech) / hears.sample_rate + hears.lookahead_ms / 1000 + TAIL_S
    return max(1, ceil((10.0 if seconds is None else seconds) * info.fps))


def check_inputs(
    model: str,
    taken: Collection[str],
    speech: np.ndarray,
    script: TrackScript,
    **others: object,
) -> None:
    """Raise ValueError for speech, tracks or prompts that are not among the inputs it takes.

    And for `others`, by the names of inputs: what is None is not given.
    """
    given = {
        "speech": len(speech) > 0,
        "tracks": bool(script.points),
        "prompt": bool(script.prompts),
        **{name: value is not None for name, value in others.items()},
    }
    for name in (name for name, is_given in given.items() if is_given):
        if name not in taken:
            instead = f"only {', '.join(sorted(taken))}" if taken else "nor anything else"
            raise ValueError(f"{model} takes no {name}, {instead}")


def generate(
    model: Model,
    state: object,
    frames: int,
    speech: np.ndarray,
    script: TrackScript,
    *,
    camera: CameraMotion | None = None,
    video: Iterator[np.ndarray] | None = None,
) -> Iterator[Chunk]:
    """The stream's chunks, one by one, until there are so many frames.

    Each is told what the script asks for while it should last, and looks at as many frames of the
    `video`; the first hears how the `camera` moves.
    """
    info, budget = model.info, SpeechBudget(model.info)
    looks = 0 if info.inputs.video is None else info.inputs.video.fps
    made = fed = seen = 0
    told_ms = 0.0
    while made < frames:
        until_ms = info.media_us(made + budget.expected_frames()) / 1e3
        samples = budget.begin()
        said = speech[fed : fed + samples]
        budget.fed(len(said))
        controls = _controls(script, told_ms, until_ms, said)
        if video is not None:
            due = round(until_ms * looks / 1e3) - seen
            controls, seen = replace(controls, video=_stacked(islice(video, due))), seen + due
        if camera is not None and made == 0:
            controls = replace(controls, camera=camera)
        chunk = model.step(state, controls)
        budget.finish(len(chunk.pictures))
        made, fed, told_ms = made + len(chunk.pictures), fed + samples, until_ms
        yield chunk


def _stacked(frames: Iterator[np.ndarray]) -> np.ndarray:
    there = list(frames)
    return np.stack(there) if there else Controls().video


def _controls(script: TrackScript, begin_ms: float, end_ms: float, audio: np.ndarray) -> Controls:
    prompt = script.prompt_between(begin_ms, end_ms)
    return Controls(
        prompt=None if prompt is None else prompt.text,
        transition_chunks=0 if prompt is None else prompt.transition_chunks,
        audio=audio,
        tracks=tuple(
            TrackEvent(p.id, p.phase, p.x, p.y) for p in script.points_between(begin_ms, end_ms)
        ),
    )
