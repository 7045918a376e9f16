"""A model of one's own for Rollcast: the reaction and diffusion of two chemicals (Gray-Scott).

What a prompt names sets their rates, a drag pours the second chemical in, the seed says where it
was at first. The equations are those of Pearson, "Complex patterns in a simple
system", Science 261 (1993).
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rollcast.models.contract import (
    Chunk,
    Controls,
    ModelInfo,
    ModelInputs,
    PromptInput,
    StreamRequest,
    TracksInput,
)
from rollcast.models.load_options import LoadOptions

ROWS, COLUMNS, SCALE = 72, 128, 3
FRAMES, STEPS = 4, 12  # frames of a chunk, and steps of time for a frame
RATES = {  # of feeding and of removal
    "spots": (0.030, 0.062),
    "worms": (0.046, 0.063),
    "coral": (0.0545, 0.062),
    "bubbles": (0.012, 0.050),
}
INK = {"blue": (20, 90, 230), "red": (230, 50, 40), "green": (30, 170, 90), "gold": (230, 180, 40)}


@dataclass
class Dish:
    """All of one stream; `fields` [2, ROWS, COLUMNS] are the two chemicals, on a torus."""

    fields: np.ndarray
    rates: np.ndarray
    target: np.ndarray
    ink: tuple[int, int, int] = INK["blue"]
    chunk: int = 0
    steps_to_target: int = 0
    held: dict[int, tuple[float, float]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


class ReactionDiffusion:
    """A `rollcast.models.contract.Model`; it keeps nothing itself, so streams share nothing."""

    info = ModelInfo(
        name="reaction-diffusion",
        title="Reaction and diffusion",
        width=SCALE * COLUMNS,
        height=SCALE * ROWS,
        fps=25,
        chunk_frames=FRAMES,
        inputs=ModelInputs(prompt=PromptInput(("blue spots", "red coral")), tracks=TracksInput(8)),
    )

    def start(self, request: StreamRequest) -> Dish:
        """A dish with drops in places that the seed chooses."""
        rates = np.array(RATES["spots"])
        dish = Dish(_seeded(request.seed), rates, rates.copy())
        _read(dish, request.prompt or "blue spots", 0)
        return dish

    def step(self, state: Dish, controls: Controls) -> Chunk:
        """Obey, and let the time of a chunk pass."""
        if controls.reset or controls.seed is not None:
            state.fields = _seeded(controls.seed or 0)
        if controls.prompt is not None:
            _read(state, controls.prompt, controls.transition_chunks)
        for gone in state.held.copy() if controls.clear_tracks is None else controls.clear_tracks:
            state.held.pop(gone, None)
        for event in controls.tracks:
            state.held.pop(event.id, None)
            if event.phase != "up":
                state.held[event.id] = (event.x, event.y)
        share = 1 / (state.steps_to_target + 1)
        state.rates = state.rates + share * (state.target - state.rates)
        state.steps_to_target = max(0, state.steps_to_target - 1)
        frames = np.stack([_frame(state) for _ in range(FRAMES)])
        chunk = Chunk(state.chunk, frames, np.zeros(0, np.int16), ignored_words=state.ignored)
        state.chunk, state.ignored = state.chunk + 1, ()
        return chunk

    def snapshot(self, state: Dish) -> bytes:
        """The dish as bytes; not as a pickle, which would run what it is given."""
        plain: dict[str, Any] = asdict(state) | {
            "held": np.array([[k, *p] for k, p in state.held.items()])
        }
        file = io.BytesIO()
        np.savez(file, **plain)
        return file.getvalue()

    def restore(self, data: bytes) -> Dish:
        """The dish that `snapshot` saved."""
        saved = dict(np.load(io.BytesIO(data), allow_pickle=False))
        held = {int(k): (float(x), float(y)) for k, x, y in saved.pop("held").reshape(-1, 3)}
        plain = {name: value.tolist() for name, value in saved.items() if value.ndim == 0}
        ink, ignored = (tuple(saved.pop(name).tolist()) for name in ("ink", "ignored"))
        return Dish(**saved | plain, held=held, ink=ink, ignored=ignored)


def load(options: LoadOptions) -> ReactionDiffusion:
    """The entry point. Raises ValueError for what this model has no use for."""
    options.check_none_but()
    return ReactionDiffusion()


def _seeded(seed: int) -> np.ndarray:
    fields = np.stack((np.ones((ROWS, COLUMNS)), np.zeros((ROWS, COLUMNS)))).astype(np.float32)
    for row, column in np.random.default_rng(seed).integers((ROWS, COLUMNS), size=(12, 2)):
        fields[:, row : row + 5, column : column + 5] = np.array([[[0.5]], [[0.5]]])
    return fields


def _read(dish: Dish, prompt: str, transition_chunks: int) -> None:
    """Take the words that are known from a prompt, and note the others."""
    words = prompt.lower().split()
    for word in words:
        dish.target = np.array(RATES.get(word, dish.target))
        dish.ink = INK.get(word, dish.ink)
    dish.steps_to_target = transition_chunks
    dish.ignored = tuple(word for word in words if word not in RATES | INK)


def _frame(dish: Dish) -> np.ndarray:
    """The next frame, uint8 [H, W, 3]."""
    feed, remove = (np.float32(rate) for rate in dish.rates)
    for x, y in dish.held.values():
        row, column = int(y * (ROWS - 1)), int(x * (COLUMNS - 1))
        dish.fields[1, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0.6
    u, v = dish.fields
    for _ in range(STEPS):
        reacts = u * v * v
        u, v = (
            u + np.float32(0.16) * _spread(u) - reacts + feed * (1 - u),
            v + np.float32(0.08) * _spread(v) + reacts - (feed + remove) * v,
        )
    dish.fields = np.stack((u, v))
    thick = np.clip(v * 3, 0, 1)[..., None]
    picture = (245 + thick * (np.array(dish.ink, np.float32) - 245)).astype(np.uint8)
    return picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def _spread(x: np.ndarray) -> np.ndarray:
    """What flows in from the four neighbours."""
    around = np.roll(x, 1, 0) + np.roll(x, -1, 0) + np.roll(x, 1, 1) + np.roll(x, -1, 1)
    return around - 4 * x
