"""The streaming contract: controls in, one chunk of frames out, everything mutable in one state.

A model is weights plus free functions; a stream is a `StreamState`. Feeding the same control log
to a state started from the same seed gives the same latents bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

TrackPhase = Literal["down", "move", "up", "anchor"]
ControlName = Literal["prompt", "audio", "tracks", "scene", "seed", "picture"]

PICTURE = "picture"
"""The scene that a stream's own picture is."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing a model can show: an avatar or a scene with movable objects.

    `thumbnail` is a small JPEG or PNG of it, or None.
    """

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class PictureGuide:
    """How a face lies in a picture that a model can work with: a square of `size` pixels a side.

    `eyes`, from left to right, and `mouth` are their middles, x and y in 0..1.
    """

    size: int
    eyes: tuple[tuple[float, float], tuple[float, float]]
    mouth: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a client must know of a model before it opens a stream.

    `picture` is there if a stream may bring a picture of its own.
    """

    name: str
    title: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int
    lookahead_ms: int
    scenes: tuple[Scene, ...]
    prompts: tuple[str, ...]
    controls: frozenset[ControlName]
    picture: PictureGuide | None = None

    @property
    def chunk_us(self) -> int:
        """Media duration of a chunk in microseconds."""
        return self.chunk_frames * 1_000_000 // self.fps

    @property
    def chunk_samples(self) -> int:
        """Audio samples that one chunk lasts."""
        return self.chunk_frames * self.sample_rate // self.fps


@dataclass(frozen=True, slots=True)
class TrackEvent:
    """A pointer event on the frame; `x`, `y` in 0..1 from the top left corner."""

    id: int
    phase: TrackPhase
    x: float
    y: float


def _silence() -> np.ndarray:
    return np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True)
class Controls:
    """What changed since the previous chunk; the default means "go on".

    `audio` is int16 mono at `ModelInfo.sample_rate`, at most `chunk_samples` long (shorter is
    padded with silence). `clear_audio` drops speech that was fed and has not been shown yet;
    `clear_tracks` releases these track ids (an empty tuple: none, None: all). They act before
    `audio` and `tracks` of the same controls. `picture`, a JPEG, PNG or WebP file, becomes the
    stream's own; it is shown, as scene `PICTURE`, unless `scene` asks for another one.
    """

    prompt: str | None = None
    transition_chunks: int = 0
    scene: str | None = None
    picture: bytes | None = None
    audio: np.ndarray = field(default_factory=_silence)
    clear_audio: bool = False
    tracks: tuple[TrackEvent, ...] = ()
    clear_tracks: tuple[int, ...] | None = ()
    reset: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One generated chunk.

    `frames` uint8 RGB [T, H, W, 3]; `audio` int16 [chunk_samples], the speech that these frames
    show (the input of an earlier step, late by the model's look-ahead); `talking` is true when
    that audio carries speech. `scene` is what is shown now, `ignored_words` the words of a new
    prompt that mean nothing to this model.
    """

    index: int
    frames: np.ndarray
    audio: np.ndarray
    talking: bool
    scene: str
    ignored_words: tuple[str, ...] = ()


State = TypeVar("State")


@runtime_checkable
class Stepper(Protocol[State]):
    """What the server needs of a model; all calls come from one thread.

    `State` is the model's own kind of stream state; whoever drives a model just hands it back.
    """

    @property
    def info(self) -> ModelInfo:
        """What a client must know."""
        ...

    def start(
        self,
        *,
        seed: int,
        scene: str | None = None,
        prompt: str | None = None,
        picture: bytes | None = None,
    ) -> State:
        """A new stream's state, with a picture of its own if one is given.

        Raises ValueError for an unknown scene, naming the known ones, and for a picture that
        cannot be read or is not taken.
        """
        ...

    def step(self, state: State, controls: Controls) -> Chunk:
        """Advance `state` by one chunk."""
        ...

    def snapshot(self, state: State) -> bytes:
        """The whole state as bytes, for `restore` in this or another process."""
        ...

    def restore(self, data: bytes) -> State:
        """The state that `snapshot` saved; going on from it equals never having stopped."""
        ...
