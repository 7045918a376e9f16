"""Everything of a stream that changes, in one object that can be saved and restored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor

from .past_calls import PastCall, pack_past, unpack_past
from .student.student_cache import StudentCache

_FORMAT = 1


def _is_settled() -> None:
    """Of a decoder whose work is done where it stands."""


@dataclass(slots=True)
class DecoderState:
    """What a stream's decoder remembers.

    `memory` holds a causal decoder's features of past frames: it is part of every snapshot and gone
    when the stream starts anew. A decoder that looks at single frames leaves it empty. `derived` is
    what follows from plans and takes long to work out; it can be made again and is not saved.
    `recent` are the chunks that a causal decoder saw last, for a small snapshot. Whoever reads
    `memory`, but for the decoder itself, calls `settle` first: it may be made beside other work.
    """

    memory: dict[str, Tensor] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)
    recent: list[PastCall] = field(default_factory=list)
    settle: Callable[[], None] = field(default=_is_settled, compare=False, repr=False)

    def reset(self) -> None:
        """The next chunk continues nothing."""
        self.memory.clear()
        self.recent = []


class ConditioningState(Protocol):
    """What a model's conditioning keeps from chunk to chunk."""

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        ...

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        ...


C = TypeVar("C", bound=ConditioningState)


@dataclass(slots=True)
class StreamState(Generic[C]):
    """One stream. Weights are shared and frozen; nothing that changes lives anywhere else.

    `caches` are those of `ChunkSteps`: one for each denoising step, or a single one with a clean
    pass. With `restart` they and the decoder start anew at the next chunk. `returns` holds clean
    latents of past chunks by the chunk that needs them (`ChunkPlan.needed_by`). `scene` is empty
    for a model without scenes.
    """

    caches: Sequence[StudentCache]
    conditioning: C
    generator: torch.Generator
    seed: int
    scene: str
    prompt: str
    chunk_index: int = 0
    restart: bool = True
    decoder: DecoderState = field(default_factory=DecoderState)
    returns: dict[int, Tensor] = field(default_factory=dict)

    def to_bytes(self, model: str) -> bytes:
        """The whole state; `model` names whose state it is."""
        self.decoder.settle()
        tensors: dict[str, Tensor] = {}
        for k, cache in enumerate(self.caches):
            tensors |= {f"cache.{k}.{name}": t for name, t in cache.tensors().items()}
        tensors |= {f"decoder.{name}": t for name, t in self.decoder.memory.items()}
        return self._packed(model, tensors, {"caches": [each.metadata() for each in self.caches]})

    def small_bytes(self, model: str) -> bytes:
        """Without what caches and the decoder's memory hold."""
        return self._packed(model, {}, {"small": True, "caches": []})

    def past_bytes(self, model: str) -> bytes:
        """With the past calls in place of what caches hold, and of the decoder's memory."""
        tensors: dict[str, Tensor] = {}
        pasts: list[Any] = []
        for place, past in enumerate([*(each.past for each in self.caches), self.decoder.recent]):
            packed, plain = pack_past(past)
            tensors |= {f"past.{place}.{name}": tensor for name, tensor in packed.items()}
            pasts.append(plain)
        for k, cache in enumerate(self.caches):
            tensors |= {f"kept.{k}.{name}": tensor for name, tensor in cache.kept.items()}
        return self._packed(model, tensors, {"small": True, "caches": [], "pasts": pasts})

    def _packed(self, model: str, more: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
        tensors = {"generator": self.generator.get_state(), **more}
        tensors |= {f"conditioning.{name}": t for name, t in self.conditioning.tensors().items()}
        tensors |= {f"returns.{chunk}": t for chunk, t in self.returns.items()}
        plain = {
            "format": _FORMAT,
            "model": model,
            "seed": self.seed,
            "scene": self.scene,
            "prompt": self.prompt,
            "chunk_index": self.chunk_index,
            "restart": self.restart,
            "conditioning": self.conditioning.metadata(),
            **about,
        }
        # copies: the format refuses tensors that share memory
        return save({k: t.clone() for k, t in tensors.items()}, {"state": json.dumps(plain)})


@dataclass(frozen=True, slots=True)
class SavedState:
    """A snapshot taken apart: `plain` values and `tensors` by name."""

    plain: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def parse(cls, data: bytes, model: str) -> SavedState:
        """Read what `StreamState.to_bytes` wrote.

        Raises ValueError if `data` is not a snapshot, or one of another model.
        """
        try:
            tensors, metadata = _read(data)
            plain = json.loads(metadata["state"])
        except Exception as error:
            raise ValueError(f"not a stream snapshot: {error}") from error
        if (plain["format"], plain["model"]) != (_FORMAT, model):
            raise ValueError(
                f"snapshot of model {plain['model']!r}, format {plain['format']}; "
                f"expected {model!r}, format {_FORMAT}"
            )
        return cls(plain, tensors)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix`, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}

    @property
    def is_small(self) -> bool:
        """Whether caches and decoder are still to be made again."""
        return bool(self.plain.get("small"))

    def past(self, place: int) -> list[PastCall]:
        """Those of the cache at `place`, or behind all caches what the decoder saw."""
        return unpack_past(self.part(f"past.{place}"), self.plain["pasts"][place])

    def decoder(self) -> DecoderState:
        """The decoder's state as it was, without what it can work out again."""
        return DecoderState(self.part("decoder"))

    def returns(self) -> dict[int, Tensor]:
        """Latents that chunks to come need, by chunk."""
        return {int(chunk): latents for chunk, latents in self.part("returns").items()}

    def generator(self) -> torch.Generator:
        """The stream's random generator as it was."""
        generator = torch.Generator()
        generator.set_state(self.tensors["generator"])
        return generator


def _read(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    # a length, a JSON header, the tensors
    length = int.from_bytes(data[:8], "little")
    return load(data), json.loads(data[8 : 8 + length])["__metadata__"]
