"""How well a model obeys: things and heads that are dragged, words that change what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ...models.contract import Controls, StreamRequest, TrackEvent
from ...models.pocket.evaluation.evaluation_set import EXPRESSION_FRAMES, QualitySet
from ...models.pocket.evaluation.signals import find, patch, to_signed
from ...models.pocket.evaluation.watch import Watch

_DRAG_CHUNKS = 15
_MOVED = 0.015  # of the width
_HEAD_TEMPLATE = 0.08
_HEAD_MOVES = ((0.06, 0.0), (-0.06, 0.0))
_OBEYED_S = 2.0


@dataclass(slots=True)
class Drags:
    """Errors in shares of the width; chunks until something moves."""

    objects: list[float] = field(default_factory=list)
    heads: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


def measure_drags(watch: Watch, reference: QualitySet, looks: Sequence[int]) -> Drags:
    """Drag every thing of the scenes somewhere, and every avatar's nose aside."""
    result, rng = Drags(), np.random.default_rng(0)
    for k in looks:
        entry = reference.looks[k]
        for n, (x, y, radius) in enumerate(entry.points):
            if entry.is_avatar:
                move = _HEAD_MOVES[(k + n) % len(_HEAD_MOVES)]
                half, errors = _HEAD_TEMPLATE, result.heads
            else:
                goal = rng.uniform(0.22, 0.78, 2) - (x, y)
                if entry.pan is not None and n == len(entry.points) - 1:
                    goal = rng.uniform(0.5, 1, 2) * rng.choice([-1, 1], 2) * entry.pan
                move = (float(goal[0]), float(goal[1]))
                half, errors = max(0.04, 0.7 * radius), result.objects
            error, start = _drag(watch, entry.name, (x, y), move, half)
            errors.append(error)
            result.starts.append(start)
    return result


def _drag(
    watch: Watch,
    look: str,
    point: tuple[float, float],
    move: tuple[float, float],
    half: float,
) -> tuple[float, int]:
    state = watch.model.start(StreamRequest(seed=1, scene=look))
    rest = to_signed(watch.step(state, Controls()).frames)[-1]
    template = patch(rest, point, half)
    home = np.array(find(rest, template))
    goal = home + np.array(move)
    press = TrackEvent(1, "down", *point)
    pull = TrackEvent(1, "move", point[0] + move[0], point[1] + move[1])
    towards = np.array(move) / np.hypot(*move)
    start, where = _DRAG_CHUNKS, home
    for k in range(_DRAG_CHUNKS):
        controls = Controls(tracks=(press, pull) if k == 0 else ())
        where = np.array(find(to_signed(watch.step(state, controls).frames)[-1], template))
        if start == _DRAG_CHUNKS and (where - home) @ towards > _MOVED:
            start = k + 1
    return float(np.hypot(*(where - goal))), start


@dataclass(slots=True)
class Prompts:
    """Shares of what was asked for that is seen two seconds later; which expressions are not."""

    attributes: list[float] = field(default_factory=list)
    expressions: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def measure_prompts(watch: Watch, reference: QualitySet, looks: Sequence[int]) -> Prompts:
    """Ask every look for another one by its attributes, and every avatar for each expression."""
    result = Prompts()
    for place, k in enumerate(looks):
        wanted = reference.looks[looks[(place + 1) % len(looks)]]
        words = [a for a in wanted.attributes if a != wanted.identity]
        shown = _after(watch, reference.looks[k].name, " ".join(words).replace("-", " "))
        seen = reference.looks[int(reference.faces(shown).sum(0).argmax())]
        result.attributes.append(float(np.mean([word in seen.attributes for word in words])))
        if reference.looks[k].is_avatar:
            for mood, name in enumerate(reference.expressions[1:], 1):
                shown = _after(watch, reference.looks[k].name, name)
                obeyed = reference.expression(shown) == mood
                result.expressions.append(float(obeyed))
                if not obeyed:
                    result.missed.append(f"{reference.looks[k].name} {name}")
    return result


def _after(watch: Watch, look: str, prompt: str) -> Tensor:
    """The frames that end two seconds after `prompt`, the first chunk being of before it."""
    state = watch.model.start(StreamRequest(seed=2, scene=look))
    watch.step(state, Controls())
    frames = [watch.step(state, Controls(prompt=prompt)).frames]
    for _ in range(int(_OBEYED_S * 1e6 / watch.model.info.chunk_us) - 1):
        frames.append(watch.step(state, Controls()).frames)
    return to_signed(np.concatenate(frames)[-EXPRESSION_FRAMES:])
