"""What a published model's stream keeps beside its caches: each kind's state, and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from ...state import ConditioningState, SavedState, StreamState
from .conditioning.conditioner import Conditioner
from .decoders import DecoderTurn


@dataclass(slots=True)
class WanConditioning:
    """The states of all kinds by their names.

    `chunks` and latent `frames` were planned since the stream last started.
    """

    kinds: dict[str, ConditioningState]
    chunks: int = 0
    frames: int = 0
    decoder: DecoderTurn = field(default_factory=DecoderTurn)

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save, each kind's under its name."""
        return {
            f"{kind}.{name}": tensor
            for kind, state in self.kinds.items()
            for name, tensor in state.tensors().items()
        }

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        kinds = {kind: state.metadata() for kind, state in self.kinds.items()}
        return {
            "kinds": kinds,
            "chunks": self.chunks,
            "frames": self.frames,
            "decoder": asdict(self.decoder),
        }

    @classmethod
    def of(cls, saved: SavedState, conditioners: Sequence[Conditioner[Any]]) -> WanConditioning:
        """What was saved."""
        plain = saved.plain["conditioning"]
        kinds = {
            each.kind: each.restore(
                saved.part(f"conditioning.{each.kind}"), plain["kinds"][each.kind]
            )
            for each in conditioners
        }
        turn = DecoderTurn(**plain["decoder"])
        return cls(kinds, int(plain["chunks"]), int(plain["frames"]), turn)


WanState = StreamState[WanConditioning]
