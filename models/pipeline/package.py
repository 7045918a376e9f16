"""What crosses from stage to stage, as bytes: a plan, or the end of a stream."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

from safetensors.torch import load, save
from torch import Tensor

from ..staged_model import ChunkPlan
from .messages import WorkSpan


@dataclass(frozen=True, slots=True)
class Package:
    """A chunk under way after its latest call; `plan` None: the stream is closed.

    `calls_done` of its calls are behind it; `spans` says where its time went so far.
    With `returns` these are clean latents on their way back, for the preparation of that chunk.
    `snapshot` and `small` say whether each stage saves its part behind it, whole and without what
    can be made again. `plan_number` is that of the `Assign` under which it was sent. `rows`: its
    batch has so many; it never leaves the stage then.
    """

    stream: str
    plan: ChunkPlan | None
    latents: Tensor | None = None
    returns: int | None = None
    snapshot: bool = False
    small: bool = False
    calls_done: int = 0
    spans: tuple[WorkSpan, ...] = ()
    plan_number: int = 0
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Latents:
    """What a stage must know of latents to receive them; `device` is "cpu" or "cuda"."""

    shape: tuple[int, ...]
    dtype: str
    device: str

    @classmethod
    def of(cls, latents: Tensor) -> Latents:
        """Of these."""
        dtype = str(latents.dtype).removeprefix("torch.")
        return cls(tuple(latents.shape), dtype, latents.device.type)


def pack(package: Package) -> bytes:
    """All of a package but its latents, which cross as they are."""
    plan = package.plan
    plain = {
        "stream": package.stream,
        "returns": package.returns,
        "snapshot": package.snapshot,
        "small": package.small,
        "calls_done": package.calls_done,
        "plan_number": package.plan_number,
        "spans": [(span.stage, span.name, span.begin_s, span.end_s) for span in package.spans],
        "latents": None if package.latents is None else astuple(Latents.of(package.latents)),
        "plan": None
        if plan is None
        else {
            "index": plan.index,
            "noise_seed": plan.noise_seed,
            "restart": plan.restart,
            "plain": plan.plain,
            "needed_by": plan.needed_by,
        },
    }
    head = json.dumps(plain).encode()
    # copies: the format refuses tensors that share memory
    tensors = {} if plan is None else {k: t.clone() for k, t in plan.tensors.items()}
    return len(head).to_bytes(8, "little") + head + save(tensors)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A package whose latents are still to come; None if it has none."""

    package: Package
    latents: Latents | None


def unpack(data: bytes) -> Parcel:
    """The inverse of `pack`."""
    end = 8 + int.from_bytes(data[:8], "little")
    plain = json.loads(data[8:end])
    about = plain["plan"]
    plan = None if about is None else ChunkPlan(**about, tensors=load(data[end:]))
    spans = tuple(WorkSpan(*each) for each in plain["spans"])
    package = Package(
        plain["stream"],
        plan,
        returns=plain["returns"],
        snapshot=plain["snapshot"],
        small=plain["small"],
        calls_done=plain["calls_done"],
        spans=spans,
        plan_number=plain["plan_number"],
    )
    if plain["latents"] is None:
        return Parcel(package, None)
    shape, dtype, device = plain["latents"]
    return Parcel(package, Latents(tuple(shape), dtype, device))
