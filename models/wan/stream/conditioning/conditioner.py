"""What every kind of conditioning of a stream does, from a control to a call of the student.

A model has several conditioners, one for each kind that its preset states, and asks all of them at
each point of a chunk's life. A kind keeps its own state and its own part of a chunk's plan, which
no other kind sees.

=========== ============================== =======================================================
in          asked                          answer
=========== ============================== =======================================================
`prepare`   `start(request)`               the state of a new stream
            `asked(state, controls)`       what controls change, to be called once all are read
            `given_frames(state)`          latent frames that stand before the first chunk
            `plan(state, place, returned)` its part of the chunk's plan: all that later stages need
a call      `room(cache, shape)`           what else it keeps where the cache is
            `arrive(part, entry)`          what a chunk does to a cache before its first call there
            `inputs(part, place)`          what the student is told
            `leave(part, cache, latents)`  what it notes behind the last call there
            `rewritten(parts)`             parts as what is cached was last written under
`decode`    `lead_in(part)`                what the decoder sees before the first chunk
            `shown(part)`                  fields of `Chunk` beside its frames
a snapshot  state's `tensors`, `metadata` `restore` is their inverse
a plan      `weights()`, `rehearse(entry)` what it needs of memory, on `meta`
=========== ============================== =======================================================

Calls and `decode` may run in other processes than `prepare`: they know only the part. Encoders
(of pictures, speech) therefore run in `start`, `asked` and `plan`, and `inputs` only looks up or
reshapes: it is asked for every call of a chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....state import ConditioningState
from ....student.causal_student import NO_CONDITIONS, CausalStudent
from ....student.conditioning import Conditions, TextContext
from ....student.config import StudentConfig
from ....student.student_cache import StudentCache
from ...locate import ModelFiles
from ...presets.preset import Preset
from ...text.reader import TextReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a conditioner is made of: the preset, the frames' `size` (width, height), its files.

    `student` is the configuration of the student that it steers, `network` the student itself, for
    kinds whose encoder is a part of it. Weights of its own go to `device` in `dtype`; on `meta`,
    for a plan of memory, `files` may be missing: sizes are then those that are published, and there
    is no `reader`. `encoder` is a file whose encoder takes the place of the VAE's.
    """

    preset: Preset
    student: StudentConfig
    size: tuple[int, int]
    device: torch.device
    dtype: torch.dtype
    files: ModelFiles | None = None
    encoder: Path | None = None
    reader: TextReader | None = None
    network: CausalStudent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPlace:
    """Which chunk it is: the `chunk`-th since the stream last started, 0 where it starts anew.

    It makes latent frames `start` to `start + frames`, counted from there; frames that were given
    lie before them. `seed` is the stream's.
    """

    chunk: int
    start: int
    frames: int
    seed: int


@dataclass(frozen=True, slots=True)
class PlanPart:
    """A kind's part of a chunk's plan; `plain` is JSON-able, `tensors` lie on the CPU.

    `needed_by` is that of `ChunkPlan`, counted as `ChunkPlace.chunk` is.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    needed_by: int | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """What a chunk's first step sees instead of noise: `latents` under `share` of noise.

    (1 - share) * latents + share * noise, of which the student is told that it is `timestep`.
    """

    latents: Tensor
    share: float
    timestep: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallInputs:
    """What the student is told in a chunk's calls; each field comes from at most one kind.

    `text` [L, text_dim] and `image` [N, image_dim] are attended to. Fields of `conditions` may come
    from several kinds. `given` [1, F, C, h, w] are clean latents before the stream's first chunk:
    they are written to the cache, and their frames are shown. `held` as in `batches.CallRow`.
    `begin` takes the place of noise. Devices and types do not matter.
    """

    text: Tensor | None = None
    image: Tensor | None = None
    conditions: Conditions = NO_CONDITIONS
    given: Tensor | None = None
    held: Tensor | None = None
    begin: Begin | None = None


@dataclass(frozen=True, slots=True)
class LeadIn:
    """Latents [1, F, C, h, w] that the decoder sees before a stream's first chunk.

    Their frames are not shown, and neither are the `left_out` first frames of that chunk.
    """

    latents: Tensor
    left_out: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A chunk that reaches one of its caches, `restart`: which was reset for it."""

    cache: StudentCache
    restart: bool
    student: CausalStudent
    context: TextContext
    conditions: Conditions


S = TypeVar("S", bound=ConditioningState)
Change = Callable[[], bool]
"""Takes over what was asked for; true: the stream starts anew with it."""


def no_change() -> bool:
    """What controls change that say nothing to a kind."""
    return False


class Conditioner(ABC, Generic[S]):
    """One kind of conditioning with its weights, for any number of streams.

    `kind` is that of the preset's `Conditioning`.
    """

    kind: str

    @abstractmethod
    def start(self, request: StreamRequest) -> S:
        """A new stream's state. Raises ValueError for what cannot be read."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> S:
        """The state that was saved."""

    @abstractmethod
    def asked(self, state: S, controls: Controls) -> Change:
        """What the controls change, read and encoded; nothing changes before that is called.

        Raises ValueError for what cannot be read: then no kind obeys any of the controls.
        """

    @abstractmethod
    def plan(self, state: S, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """Its part of the plan of the chunk at `place`; moves the state on by that chunk.

        `returned` are clean latents of an earlier chunk whose plan had `needed_by` this one.
        """

    def given_frames(self, state: S) -> int:
        """Latent frames of `CallInputs.given`, if the next chunk starts the stream."""
        del state
        return 0

    def room(self, cache: StudentCache, shape: Sequence[int]) -> None:
        """Make room in `cache.kept` of a new cache; a chunk's latents are of `shape`."""
        del cache, shape

    def arrive(self, part: PlanPart, entry: Entry) -> None:
        """What the chunk does to a cache before its first call on it."""
        del part, entry

    @abstractmethod
    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """What the student is told in the chunk's calls."""

    def leave(self, part: PlanPart, cache: StudentCache, latents: Tensor) -> None:
        """Note the chunk's latents behind its last call on a cache."""
        del part, cache, latents

    def rewritten(self, parts: Sequence[PlanPart]) -> Sequence[PlanPart]:
        """Its parts of the chunks that a cache holds, in their order, as each was last written.

        They are what an empty cache is filled again by.
        """
        return parts

    def lead_in(self, part: PlanPart) -> LeadIn | None:
        """What the decoder sees before the chunk, if that starts the stream."""
        del part
        return None

    def shown(self, part: PlanPart) -> Mapping[str, Any]:
        """Fields of `Chunk` beside `index` and `frames` that it knows."""
        del part
        return {}

    def weights(self) -> Iterable[Tensor]:
        """Its own weights on the device."""
        return ()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """On `meta`: the most that it does there for a chunk of a stream that is long under way.

        Gives what a stream keeps of it on the device, beside its caches.
        """
        del entry
        return ()


def merged(inputs: Sequence[CallInputs]) -> CallInputs:
    """All kinds' together. Raises ValueError where two give the same."""
    told = {each.name: _only(each.name, inputs) for each in fields(CallInputs)}
    parts = [each.conditions for each in inputs]
    told["conditions"] = Conditions(
        **{each.name: _only(each.name, parts) for each in fields(Conditions)}
    )
    return CallInputs(**told)


def _only(name: str, parts: Sequence[Any]) -> Any:
    """The one value of a field that is given, None if there is none."""
    if name == "conditions":
        return None
    values = [getattr(part, name) for part in parts if getattr(part, name) is not None]
    if len(values) > 1:
        raise ValueError(f"{len(values)} kinds of conditioning give {name}; one can")
    return values[0] if values else None
