"""What a pipeline's executor and its stages tell each other beside latents; free of torch.

One set for every kind of model and any number of stages. They cross as MessagePack
(`control_link`), never as pickles. `stream` in all of them is a name that no stream had before, see
`ReplayLog.key`: what is still on its way of a closed stream is not taken for one that was opened
since.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from ..contract import Controls, ModelInfo, StreamRequest
from .part_file import PartPlace
from .stage_plan import Costs, StagePlan


class Message(Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all messages: immutable, told apart by their name, strict about their fields."""


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """How a process makes the model: `factory` is "module:callable", called with `arguments`.

    `preload` are modules that it imports first: stages on one machine share them.
    """

    factory: str
    arguments: dict[str, Any] = {}
    preload: tuple[str, ...] = ("torch",)


class Meeting(Struct, frozen=True, forbid_unknown_fields=True):
    """Where stages on several machines meet: the executor's listener, and the secret for it.

    `life` is another one for each start of the stages.
    """

    address: tuple[str, int]
    key: bytes
    life: str

    def __repr__(self) -> str:
        return f"Meeting({self.address}, life={self.life})"


class WorkSpan(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of work on a chunk, in seconds of the machine's monotonic clock."""

    stage: int
    name: str
    begin_s: float
    end_s: float


class Setup(Message, frozen=True):
    """First message to a stage. With `meeting` the stages are on several machines.

    With `costs` nothing is measured before `Ready`: the stages are started again. With `soon` a
    model that is soon warm makes one chunk before it, and is measured behind it, at leisure.
    """

    rank: int
    world: int
    model: ModelSpec
    meeting: Meeting | None = None
    costs: Costs | None = None
    soon: bool = False


class Assign(Message, frozen=True):
    """The plan from here on; every stream is forgotten. Answered by `Assigned`.

    `number` is another one for each: what still goes round under an older plan is forgotten.
    """

    plan: StagePlan
    number: int
    frame_slots: int
    """How many chunks the frame arena has room for; 0: frames are sent."""


class Open(Message, frozen=True):
    """Begin a stream (to stage 0)."""

    stream: str
    request: StreamRequest


class Step(Message, frozen=True):
    """Admit a chunk (to stage 0); with `snapshot` each stage saves its part behind it.

    With `small` (also) without what can be made again. With `rows` bit for bit as it was made
    before, in a batch of so many.
    """

    stream: str
    controls: Controls
    snapshot: bool
    rows: int = 1
    small: bool = False

    def __post_init__(self) -> None:
        _check_sound(self.controls.audio)
        video = self.controls.video
        if video.dtype != np.uint8 or video.ndim != 4 or video.shape[3] != 3:
            raise ValueError(f"video {video.dtype} {video.shape}; expected uint8 [T, H, W, 3]")


class Batch(Message, frozen=True):
    """Admit a chunk of each of several streams, as one batch where that can be (to stage 0)."""

    steps: tuple[Step, ...]


class Close(Message, frozen=True):
    """Free a stream (to stage 0, which passes it on)."""

    stream: str


class Restore(Message, frozen=True):
    """Take over a stream from these parts of a snapshot, behind which chunk `next_index` comes.

    `small` is which kind they are of. Answered by `RestoredStream`.
    """

    stream: str
    next_index: int
    parts: dict[str, memoryview | PartPlace]
    small: bool = False


class Save(Message, frozen=True):
    """Each stage saves its part of a stream as it is now, behind chunk `index`: none is under way.

    What it can be saved of comes as `SnapshotPart`, then `SavedStream`.
    """

    stream: str
    index: int


class Drop(Message, frozen=True):
    """Show no chunks of `stream` before `below` (to the decoder)."""

    stream: str
    below: int


class Settled(Message, frozen=True):
    """From the snapshot behind chunk `index` on the stream can be gone on with.

    What was shared for older ones may be written over.
    """

    stream: str
    index: int


ToStage = Setup | Assign | Open | Step | Batch | Close | Restore | Save | Drop | Settled


class Ready(Message, frozen=True):
    """The model is loaded and the stages know each other; stage 0 has measured `costs`."""

    info: ModelInfo | None = None
    costs: Costs | None = None
    cuts: tuple[int, ...] = ()
    """Calls before which a chunk may go on to another stage."""
    rebuild_chunks: int = 0
    """See `small_snapshots.rebuild_chunks`."""
    cache_bytes: int = 0
    """Of a stream's caches; 0: they were told at an earlier start, or there are none."""
    most_rows: int = 1
    """Chunks of so many streams may be one batch."""
    runs_ahead: bool = False
    """Whether chunks leave the model's thread before their frames are there."""
    measured: bool = True
    """False: `costs` are those of the first chunk alone, and `Measured` follows."""


class Measured(Message, frozen=True):
    """Stage 0 has measured the model, while no stream was open."""

    costs: Costs


class Assigned(Message, frozen=True):
    """The plan is in force on this stage."""


class RestoredStream(Message, frozen=True):
    """A stream was taken over."""

    stream: str


class SavedStream(Message, frozen=True):
    """The parts of a stream that this stage could save were told."""

    stream: str


class Beat(Message, frozen=True):
    """This stage lives; it has been at its present piece of work for `busy_s`."""

    busy_s: float


class Working(Message, frozen=True):
    """This stage begins to work for a stream, on chunk `index` if it is known; None: it waits.

    Whoever dies without a word has said so before.
    """

    stream: str | None = None
    index: int | None = None


class MadeChunk(Struct, frozen=True, forbid_unknown_fields=True):
    """A chunk but for its frames, which are `frames`, or lie in the arena.

    They are uint8 RGB [T, H, W, 3], or planar YUV420 [T, 3 H / 2, W].
    """

    index: int
    audio: np.ndarray
    talking: bool
    scene: str | None
    ignored_words: tuple[str, ...]
    shape: tuple[int, ...]
    frames: np.ndarray | None
    slot: int | None

    def __post_init__(self) -> None:
        _check_sound(self.audio)
        if (self.frames is None) == (self.slot is None):
            raise ValueError("frames come with the chunk or lie in the arena")
        if self.frames is not None and (self.frames.dtype, self.frames.shape) != (
            np.uint8,
            self.shape,
        ):
            raise ValueError(f"frames {self.frames.dtype} {self.frames.shape} for {self.shape}")


class Done(Message, frozen=True):
    """A chunk came out, of a batch of `rows`; `chunk` is None if it was dropped."""

    stream: str
    index: int
    chunk: MadeChunk | None
    spans: tuple[WorkSpan, ...]
    rows: int = 1


class SnapshotPart(Message, frozen=True):
    """Parts of a stream's snapshot behind chunk `index`; a whole one has `count` of them.

    Views of the message they came in, or where they lie in memory that both have. To save them
    took the stage `took_s`.
    """

    stream: str
    index: int
    parts: dict[str, memoryview | PartPlace]
    count: int
    took_s: float = 0.0
    small: bool = False


class Refused(Message, frozen=True):
    """The model refused what a stream asked of it."""

    stream: str
    reason: str


class Broken(Message, frozen=True):
    """The stage fails and ends, at work for chunk `index` of `stream` if any.

    `detail` is the traceback.
    """

    reason: str
    detail: str
    stream: str | None = None
    index: int | None = None


FromStage = (
    Ready
    | Measured
    | Assigned
    | RestoredStream
    | SavedStream
    | Beat
    | Working
    | Done
    | SnapshotPart
    | Refused
    | Broken
)


def _check_sound(audio: np.ndarray) -> None:
    if audio.dtype != np.int16 or audio.ndim != 1:
        raise ValueError(f"sound {audio.dtype} {audio.shape}; expected int16 of one axis")
