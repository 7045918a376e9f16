"""What a pipeline's executor and its stages tell each other beside latents; free of torch.

`stream` in all of them is a name that no stream had before, see `ReplayLog.key`: what is still on
its way of a closed stream is not taken for one that was opened since.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..contract import Chunk, Controls, ModelInfo
from .stage_plan import Costs, StagePlan


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a process makes the model: `factory` is "module:callable", called with `arguments`."""

    factory: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setup:
    """First message to a stage. `rendezvous` is a torch.distributed init method."""

    rank: int
    world: int
    rendezvous: str
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Assign:
    """The plan from here on; every stream is forgotten. Answered by `Assigned`.

    `era` is another number for each: chunks that still go round under an older plan are forgotten.
    """

    plan: StagePlan
    era: int


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a stream (to stage 0)."""

    stream: str
    seed: int
    scene: str | None
    prompt: str | None
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Admit a chunk (to stage 0); with `snapshot` each stage saves its part behind it."""

    stream: str
    controls: Controls
    snapshot: bool


@dataclass(frozen=True, slots=True)
class Close:
    """Free a stream (to stage 0, which passes it on)."""

    stream: str


@dataclass(frozen=True, slots=True)
class Load:
    """Take over a stream from these parts of a snapshot, behind which chunk `next_index` comes.

    Answered by `Loaded`.
    """

    stream: str
    next_index: int
    parts: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not decode chunks of `stream` before `below` (to the decoder)."""

    stream: str
    below: int


ToStage = Setup | Assign | Open | Step | Close | Load | Drop


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and the stages know each other; stage 0 has measured `costs`."""

    info: ModelInfo | None
    costs: Costs | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """The plan is in force on this stage."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stream was taken over."""

    stream: str


@dataclass(frozen=True, slots=True)
class Beat:
    """This stage lives; it has been at its present piece of work for `busy_s`."""

    busy_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work on a chunk, in seconds of the machine's monotonic clock."""

    stage: int
    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """A chunk came out; `chunk` is None if it was dropped."""

    stream: str
    index: int
    chunk: Chunk | None
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Parts of a stream's snapshot behind chunk `index`."""

    stream: str
    index: int
    parts: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Refused:
    """The model refused what a stream asked of it."""

    stream: str
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The stage fails and ends, at work for `stream` if any; `detail` is the traceback."""

    reason: str
    detail: str
    stream: str | None = None


FromStage = Ready | Assigned | Loaded | Beat | Done | Part | Refused | Broken
