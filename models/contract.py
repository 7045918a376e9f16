"""The streaming contract: controls in, one chunk of frames out, everything mutable in one state.

A model is weights plus free functions; a stream is a state. Feeding the same control log to a state
started from the same request gives the same latents bit for bit. What a model accepts it says once,
in `ModelInputs`: the server's hello, the schema, the page, the command line and the warm-up all
read it there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from .yuv_frames import Pictures

TrackPhase = Literal["down", "move", "up", "anchor"]
InputName = Literal[
    "prompt", "speech", "tracks", "scene", "seed", "picture", "image", "camera", "video"
]

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
class PromptInput:
    """Text that says what to show; `examples` are prompts that the model knows well."""

    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeechInput:
    """Speech that the model hears, int16 mono at `sample_rate` Hz, and gives back with its frames.

    It is shown `lookahead_ms` after it was fed.
    """

    sample_rate: int = 16_000
    lookahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class TracksInput:
    """Points that are dragged or held; at most `max_tracks` at a time."""

    max_tracks: int = 16


@dataclass(frozen=True, slots=True)
class PictureGuide:
    """How a face lies in a picture that a model can work with: a square of `size` pixels a side.

    `eyes`, from left to right, and `mouth` are their middles, x and y in 0..1.
    """

    size: int
    eyes: tuple[tuple[float, float], tuple[float, float]]
    mouth: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A start or reference picture that is no face; `required`: no stream begins without one."""

    width: int
    height: int
    required: bool = False


@dataclass(frozen=True, slots=True)
class CameraInput:
    """Moves of the camera: free in six degrees, or by keys as in a game."""

    kind: Literal["6dof", "wasd"]


@dataclass(frozen=True, slots=True)
class VideoInput:
    """Frames in, at `fps`, of `width` x `height` pixels."""

    width: int
    height: int
    fps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """What a model accepts; None or empty: it takes no such thing.

    `picture` is a face that a stream may bring of its own. With `scenes` one of them is always
    shown.
    """

    scenes: tuple[Scene, ...] = ()
    prompt: PromptInput | None = None
    speech: SpeechInput | None = None
    tracks: TracksInput | None = None
    picture: PictureGuide | None = None
    image: ImageInput | None = None
    camera: CameraInput | None = None
    video: VideoInput | None = None
    seed: bool = True

    @property
    def names(self) -> frozenset[InputName]:
        """The inputs that are taken, by name."""
        taken: dict[InputName, bool] = {
            "prompt": self.prompt is not None,
            "speech": self.speech is not None,
            "tracks": self.tracks is not None,
            "scene": bool(self.scenes),
            "seed": self.seed,
            "picture": self.picture is not None,
            "image": self.image is not None,
            "camera": self.camera is not None,
            "video": self.video is not None,
        }
        return frozenset(name for name, is_taken in taken.items() if is_taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Economy:
    """What a chunk leaves out, to be made sooner; the default: nothing.

    A tiny decoder makes its frames, as soon as that has seen enough of the stream; it takes at most
    so many denoising `steps` (None: all of them), and only every `frame_every`-th frame is made,
    which the others repeat.
    """

    tiny_decoder: bool = False
    steps: int | None = None
    frame_every: int = 1


FULL = Economy()
"""Nothing is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a client must know of a model before it opens a stream.

    `chunk_frames` is how many frames a chunk usually has; the first one after a start or a reset
    has `first_chunk_frames`, where that is another number (a causal decoder makes one frame of its
    first latent and several of every other). What counts is how many a chunk really has.
    `economy` is the most that a chunk can leave out.
    """

    name: str
    title: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    inputs: ModelInputs
    first_chunk_frames: int | None = None
    economy: Economy = FULL

    @property
    def chunk_us(self) -> float:
        """Usual media duration of a chunk in microseconds."""
        return self.media_us(self.chunk_frames)

    def media_us(self, frames: int) -> float:
        """Media time of so many frames in microseconds."""
        return frames * 1e6 / self.fps

    @property
    def sample_rate(self) -> int | None:
        """Samples per second of the sound in both directions; None: the model has none."""
        return None if self.inputs.speech is None else self.inputs.speech.sample_rate

    @property
    def lookahead_ms(self) -> int:
        """How much later speech is shown than it was fed; 0 without sound."""
        return 0 if self.inputs.speech is None else self.inputs.speech.lookahead_ms

    def samples(self, frames: int) -> int:
        """Audio samples that the first `frames` frames of a stream last; 0 without sound."""
        return frames * (self.sample_rate or 0) // self.fps

    @property
    def chunk_samples(self) -> int:
        """Audio samples that a usual chunk lasts; 0 without sound."""
        return self.samples(self.chunk_frames)

    @property
    def video_frames(self) -> int:
        """Frames of video in that a chunk lasts, rounded up; 0 for a model that takes none."""
        if self.inputs.video is None:
            return 0
        most = max(self.chunk_frames, self.first_chunk_frames or 0)
        return -(-most * self.inputs.video.fps // self.fps)

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes, if there are any."""
        return self.inputs.scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What a stream is started with; travels as it is from the client's message to the model.

    `scene` None: the picture, if there is one, else the model's choice. `picture`, a face, and
    `image`, what the stream starts from or refers to, are JPEG, PNG or WebP files.
    """

    seed: int = 0
    scene: str | None = None
    prompt: str | None = None
    picture: bytes | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class TrackEvent:
    """A pointer event on the frame; `x`, `y` in 0..1 from the top left corner."""

    id: int
    phase: TrackPhase
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """How the camera moves, until told otherwise.

    `translation` is right, down and forward, in widths of the picture a second; `rotation` is
    pitch (up), yaw (right) and roll (clockwise), in degrees a second.
    """

    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _silence() -> np.ndarray:
    return np.zeros(0, np.int16)


def _no_video() -> np.ndarray:
    return np.zeros((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Controls:
    """What changed since the previous chunk; the default means "go on".

    `audio` is int16 mono at `ModelInfo.sample_rate`, at most as long as the chunk's frames (shorter
    is padded with silence). `clear_audio` drops speech that was fed and has not been shown yet;
    `clear_tracks` releases these track ids (an empty tuple: none, None: all). They act before
    `audio` and `tracks` of the same controls. `picture`, a JPEG, PNG or WebP file, becomes the
    stream's own; it is shown, as scene `PICTURE`, unless `scene` asks for another one. `image`, a
    file likewise, is what the stream starts from or refers to from now on; it starts anew with it,
    as with `reset`. `camera` is the motion that is in force from now on. `video` are frames uint8
    RGB [T, H, W, 3] as `VideoInput` says, those that came since the previous chunk, the last of
    them kept for a model that needs more. `economy` is what this chunk leaves out.
    """

    prompt: str | None = None
    transition_chunks: int = 0
    scene: str | None = None
    picture: bytes | None = None
    image: bytes | None = None
    camera: CameraMotion | None = None
    video: np.ndarray = field(default_factory=_no_video)
    audio: np.ndarray = field(default_factory=_silence)
    clear_audio: bool = False
    tracks: tuple[TrackEvent, ...] = ()
    clear_tracks: tuple[int, ...] | None = ()
    reset: bool = False
    seed: int | None = None
    economy: Economy = FULL

    @property
    def starts_anew(self) -> bool:
        """Whether what is shown starts anew with these: a reset, or another image."""
        return self.reset or self.image is not None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One generated chunk.

    `pictures` are its frames, uint8 RGB [T, H, W, 3], or as a GPU makes them for encoders; `audio`
    int16, as long as they last, is the speech that these frames show (the input of an earlier step,
    late by the model's look-ahead), empty for a model without sound; `talking` is true when it
    carries speech. `scene` is what is shown now, None for a model without scenes; `ignored_words`
    are the words of a new prompt, in the first chunk of the one that the stream was started with,
    that mean nothing to this model.
    """

    index: int
    pictures: Pictures
    audio: np.ndarray
    talking: bool = False
    scene: str | None = None
    ignored_words: tuple[str, ...] = ()

    @property
    def frames(self) -> np.ndarray:
        """The frames as uint8 RGB [T, H, W, 3]: made of YUV each time it is asked for."""
        return self.pictures if isinstance(self.pictures, np.ndarray) else self.pictures.rgb()


State = TypeVar("State")


@runtime_checkable
class Model(Protocol[State]):
    """Weights and functions that make chunks; all calls come from one thread.

    `State` is the model's own kind of stream state; whoever runs a model just hands it back.
    """

    @property
    def info(self) -> ModelInfo:
        """What a client must know."""
        ...

    def start(self, request: StreamRequest) -> State:
        """A new stream's state.

        Raises ValueError for an unknown scene, naming the known ones, and for a picture that
        cannot be read or is not taken.
        """
        ...

    def step(self, state: State, controls: Controls) -> Chunk:
        """Advance `state` by one chunk.

        Raises ValueError for what this stream asks and the model refuses.
        """
        ...

    def snapshot(self, state: State) -> bytes:
        """The whole state as bytes, for `restore` in this or another process."""
        ...

    def restore(self, data: bytes) -> State:
        """The state that `snapshot` saved; going on from it equals never having stopped."""
        ...
