"""`python -m rollcast.benchmarks.kernels.chunk_budget`: an estimate of a chunk's time on an H100.

Products, bytes and launches are counted on `meta` (`chunk_operations`, `decoder_operations`) and
divided by rates: those that a card reached (`benchmarks/gpu/h100.json`), and the best ones that
others have published. **Nothing here is a time**; it says where time would go, and what a change is
worth. What overlaps is not taken off, but for the host, which is taken to be ahead.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...kernels.launch import Launch
from ...models.student.step_graphs import StepGraphs
from ...models.wan.number_types import NumberTypes
from ...models.wan.presets.catalogue import preset_named
from ...models.wan.presets.preset import Preset
from .chunk_operations import HALF, HOPPER, MetaStream
from .decoder_operations import DECODERS, decoder_count
from .operation_count import OperationCount, counted, name_of

_READ_ONCE = {
    "modulate": ("X", "Out"),
    "residual_norm": ("X", "Branch", "Sum", "Out"),
    "rms_norm": ("X", "Out"),
    "row_scale": ("X", "Out"),
    "counter_noise": ("Out",),
    "normed_attention": ("Query", "Key", "Value", "Out"),
    "key_rotation": ("Key", "Out"),
    "norm_silu": ("X", "Out"),
    "sum_norm_silu": ("X", "Branch", "Sum", "Out"),
    "yuv420": ("X", "Out"),
    # and what goes to the cache, which is given whole
    "norm_rope_write": ("Query", "Key", "Value", "Out", "Key", "Value"),
    "int8_keys": ("Key", "Out"),
}
"""What of a kernel's arguments goes through memory. The EMA sink's frames are left out: 0.1 ms."""


@dataclass(frozen=True, slots=True)
class Rates:
    """TFLOP/s of products, attention to the window and to a text, convolutions; TB/s of passes;
    microseconds between two operations of a graph."""

    products: float
    products_fp8: float
    attention: float
    text: float
    convolutions: float
    passes: float
    gap_us: float


RATES = {
    # A product of 8192 x 8192 reached 741 and smaller ones are taken to reach 622; cuDNN reached
    # 488 at these very shapes, ours 235 to a text, convolutions 40.7 TFLOP in 66% of 226 ms. Float8
    # was not measured.
    "reached": Rates(622, 1100, 488, 235, 273, 2.4, 1.0),
    # cuDNN's attention as published (pytorch#142132), and convolutions at half of the peak
    "published": Rates(622, 1100, 606, 235, 450, 2.8, 1.0),
}


class _Work(TorchDispatchMode):
    """Counts floating-point operations of products, attention and convolutions on `meta`."""

    def __init__(self) -> None:
        super().__init__()
        self.flop: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("addmm", "_addmm_activation"):
            self.flop["products"] += 2 * result.numel() * args[1].shape[1]
        elif name in ("mm", "_scaled_mm"):
            kind = "products" if name == "mm" else "products_fp8"
            self.flop[kind] += 2 * result.numel() * args[0].shape[1]
        elif name == "convolution" and args[1].is_meta:
            self.flop["convolutions"] += 2 * result.numel() * args[1][0].numel()
        elif "attention" in name:
            query, key = args[:2]
            self.flop["attention"] += 4 * query.numel() * key.shape[2]
        return result


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a chunk asks for: operations by what they multiply, bytes, launches."""

    flop: Counter[str]
    bytes: float
    operations: int

    def __add__(self, other: Part) -> Part:
        flop = Counter(
            {kind: self.flop[kind] + other.flop[kind] for kind in self.flop | other.flop}
        )
        return Part(flop, self.bytes + other.bytes, self.operations + other.operations)

    def times(self, factor: int) -> Part:
        """So many of it; -1: what is to be taken off."""
        flop = Counter({kind: factor * count for kind, count in self.flop.items()})
        return Part(flop, factor * self.bytes, factor * self.operations)


def chunk_budget(
    preset: Preset, *, decoder: str | None = None, types: NumberTypes = HALF
) -> dict[str, Any]:
    """Milliseconds of the parts of a chunk by each of `RATES`; `decoder` is one of `DECODERS`."""
    whole = student_part(preset, types)
    operations = {"student": whole.operations}
    if decoder is not None:
        decodes = decoder_part(preset, decoder)
        operations["decoder"] = decodes.operations
        whole += decodes
    rows: dict[str, Any] = {}
    for name, rates in RATES.items():
        plain = asdict(rates)
        parts = {kind: flop / plain[kind] / 1e9 for kind, flop in whole.flop.items() if flop}
        parts["passes"] = whole.bytes / rates.passes / 1e9
        parts["gaps"] = whole.operations * rates.gap_us / 1e3
        rows[name] = {k: round(v, 1) for k, v in parts.items()} | {
            "sum": round(sum(parts.values()), 1)
        }
    return {"preset": preset.name, "decoder": decoder, "operations": operations, "ms": rows}


@cache
def student_part(preset: Preset, types: NumberTypes = HALF) -> Part:
    """All calls of a chunk with a full window.

    Layers are alike, so that one and two of them tell of all; an avatar's are not.
    """
    if preset.student.avatar is not None:
        return layers_part(preset, types, None)
    one, two = layers_part(preset, types, 1), layers_part(preset, types, 2)
    return one + (two + one.times(-1)).times(preset.student.num_layers - 1)


def layers_part(preset: Preset, types: NumberTypes, layers: int | None) -> Part:
    """The same of a student with so many layers; None: with all."""
    stream = MetaStream(preset, layers=layers, types=types)
    with counted(HOPPER):
        context = stream.context()
        for _ in range(-(-preset.cache.capacity_frames // preset.recipe.chunk_frames) + 1):
            stream.make_chunk(context)
    work = _Work()
    with counted(HOPPER) as count, work:
        stream.make_chunk(context)
    for launch in count.seen:
        if name_of(launch) == "normed_attention":
            key = launch.arguments["Key"]
            work.flop["text"] += 4 * launch.arguments["Query"].numel() * key.shape[2]
        if name_of(launch) == "int8_attention":
            values = launch.arguments["Value"]
            work.flop["attention"] += 4 * launch.arguments["Query"].numel() * values.shape[2]
    return Part(work.flop, _moved(count), count.operations)


@cache
def decoder_part(preset: Preset, decoder: str) -> Part:
    """Of a decoder of `DECODERS`, behind a stream's first chunk."""
    work = _Work()
    with work:
        count, _ = decoder_count(preset, DECODERS[decoder][1])
    # a stream's first chunk, which is three frames shorter, was counted with it
    frames = preset.latents.frames * preset.recipe.chunk_frames
    share = frames / (2 * frames - 3)
    flop: Counter[str] = Counter()
    for kind, counted_flop in work.flop.items():
        flop["convolutions" if kind == "products" else kind] += round(counted_flop * share)
    return Part(flop, _moved(count), count.operations)


def graphs_of(preset: Preset) -> int:
    """How many CUDA graphs a stream has recorded when its window has come round three times."""
    stream = MetaStream(preset, layers=1)
    graphs = stream.student.graphs = StepGraphs(_Recorded)
    chunk, window = preset.recipe.chunk_frames, preset.cache.window_frames
    full = -(-preset.cache.capacity_frames // chunk)
    with counted(HOPPER):
        context = stream.context()
        for _ in range(full + 3 * math.lcm(window, chunk) // chunk):
            stream.make_chunk(context)
    return len(graphs)


class _Recorded:
    """A graph that is counted alone."""

    def capture(self, work: Callable[[], None]) -> None:
        work()

    def replay(self) -> None:
        pass


def _moved(count: OperationCount) -> float:
    """Bytes of passes: torch's, and those of our kernels."""
    return count.bytes + sum(map(_bytes, count.seen))


def _bytes(launch: Launch) -> int:
    named = (launch.arguments.get(name) for name in _READ_ONCE.get(name_of(launch), ()))
    return sum(x.numel() * x.element_size() for x in named if isinstance(x, Tensor))


def main(arguments: Sequence[str] | None = None) -> int:
    """A line for each preset, decoder and set of rates."""
    parser = argparse.ArgumentParser(prog="chunk_budget", description="See the docstring.")
    parser.add_argument("--only", default="reward-forcing,longlive", help="presets, by commas")
    parser.add_argument("--json", action="store_true", help="for programs")
    plan = parser.parse_args(arguments)
    fp8 = NumberTypes.named("bf16", "fp8-dynamic", torch.device("cuda"))
    for name in plan.only.split(","):
        for decoder in ("tiny, Wan 2.1", "Wan 2.1"):
            for kind, types in (("bf16", HALF), ("fp8-dynamic", fp8)):
                row = chunk_budget(preset_named(name), decoder=decoder, types=types)
                if plan.json:
                    sys.stdout.write(json.dumps(row | {"types": kind}) + "\n")
                    continue
                for by, parts in row["ms"].items():
                    told = ", ".join(f"{part} {ms}" for part, ms in parts.items() if part != "sum")
                    sys.stdout.write(
                        f"{name}, {decoder}, {kind}, rates {by}: about {parts['sum']} ms ({told})\n"
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
