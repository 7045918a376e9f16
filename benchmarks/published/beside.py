"""Chunks of Rollcast beside those of the published code: processor time, outputs, and its parts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ...models.sampling.chunk_maker import ChunkMaker
from ...models.sampling.recipe import Recipe
from ...models.student.causal_student import CausalStudent
from ...models.student.config import CacheConfig, StudentConfig
from ...models.wan.weights import load_weights, plain_names
from .checkout import SHIFT, STEPS, PublishedPipeline

_PARTS = {
    "linear layers": ("addmm", "mm", "mkldnn_convolution", "slow_conv3d_forward", "bmm"),
    "attention": ("_scaled_dot_product_flash_attention_for_cpu", "_softmax"),
    "copies": ("copy_", "cat", "clone", "fill_", "zero_", "_to_copy"),
}
"""Operators that compute for themselves, by what they are for; all others are element by element:
norms, modulation, rotations, activations, samplers."""


@dataclass(frozen=True, slots=True)
class BesideOptions:
    """The shape of the student, the size of its latents, and how often chunks are made.

    The first chunks of a run, in which the window fills, are made but not counted.
    """

    dim: int = 1536
    heads: int = 12
    ffn_dim: int = 8960
    layers: int = 2
    text_len: int = 512
    text_dim: int = 4096
    height: int = 16
    width: int = 24
    window: int = 6
    sink: int = 3
    alpha: float = 0.999
    chunk: int = 3
    chunks: int = 8
    rounds: int = 5
    seed: int = 0


class _Beside:
    """Both implementations with the same weights."""

    def __init__(self, checkout: Path, options: BesideOptions) -> None:
        self.options = options
        self.config = StudentConfig(
            dim=options.dim,
            ffn_dim=options.ffn_dim,
            num_heads=options.heads,
            num_layers=options.layers,
            in_channels=16,
            out_channels=16,
            text_dim=options.text_dim,
            text_len=options.text_len,
            rope="slot",
        )
        cache = CacheConfig(
            window_frames=options.window,
            sink_frames=options.sink,
            sink="ema",
            alpha=options.alpha,
            precision="in_place",
            ragged="overwrite",
        )
        self.published = PublishedPipeline(checkout, self.config, cache, options.chunk)
        weights = _random_weights(self.published.model.state_dict(), options.seed)
        self.published.load(weights)
        student = CausalStudent(self.config).eval().requires_grad_(False)
        load_weights(student, plain_names(weights))
        recipe = Recipe(chunk_frames=options.chunk, steps=STEPS, shift=SHIFT)
        self.maker = ChunkMaker(student, recipe, cache)

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Noise of all chunks and text."""
        options, draw = self.options, torch.Generator().manual_seed(seed)
        frames = options.chunk * options.chunks
        size = options.height, options.width
        noise = torch.randn(1, frames, self.config.in_channels, *size, generator=draw)
        text = torch.randn(1, self.config.text_len, self.config.text_dim, generator=draw)
        return noise, text

    def run_published(
        self, noise: Tensor, text: Tensor, seed: int, stamp: Callable[[], None]
    ) -> Tensor:
        """A stream by the published code."""
        self.published.start(*noise.shape[-2:])
        torch.manual_seed(seed)
        return self.published.run(noise, text, stamp)

    @torch.no_grad()
    def run_ours(self, noise: Tensor, text: Tensor, seed: int, stamp: Callable[[], None]) -> Tensor:
        """The same stream by Rollcast."""
        height, width = noise.shape[-2:]
        stream = self.maker.start(height=height, width=width)
        prompt = self.maker.encode(text)
        torch.manual_seed(seed)
        made: list[Tensor] = []
        for chunk in noise.split(self.options.chunk, dim=1):
            stamp()
            latents = self.maker.next(stream, chunk, prompt)
            assert latents is not None, "only a joint window fills first"
            made.append(latents)
        stamp()
        return torch.cat(made, dim=1)


def measure_beside(
    checkout: Path, options: BesideOptions, say: Callable[[str], None]
) -> dict[str, Any]:
    """Both, turn by turn, on as many threads as torch has: a report that JSON can hold.

    `ratio` is ours to theirs, the median over pairs of one chunk in one round; times are processor
    seconds of a chunk, medians. `parts` are seconds of a chunk by the profiler, which itself takes
    some. Raises NoCheckout, and ValueError for fewer chunks than fill the window.
    """
    filling = -(-(options.window + options.sink) // options.chunk)
    if options.chunks <= filling:
        raise ValueError(f"{options.chunks} chunks; expected more than {filling}, which fill it")
    beside = _Beside(checkout, options)
    runs = {"ours": beside.run_ours, "published": beside.run_published}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    greatest, spread = 0.0, 0.0
    for turn in range(options.rounds):
        noise, text = beside.inputs(options.seed + turn)
        made: dict[str, Tensor] = {}
        # who goes first takes turns: caches and clocks are warmer for the second
        for name in sorted(runs, reverse=bool(turn % 2)):
            stamps: list[float] = []
            made[name] = runs[name](
                noise, text, turn, lambda at=stamps: at.append(time.process_time())
            )
            chunks = [end - begin for begin, end in pairwise(stamps)]
            seconds[name] += chunks[filling:]
        greatest = max(greatest, float((made["ours"] - made["published"]).abs().max()))
        spread = float(made["published"].std())
        say(f"round {turn + 1} of {options.rounds}")
    pairs = zip(seconds["ours"], seconds["published"], strict=True)
    return {
        "options": asdict(options),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "greatest_difference": greatest,
        "spread": spread,
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
        "seconds": {name: statistics.median(each) for name, each in seconds.items()},
        "parts": {name: _parts(beside, run, filling) for name, run in runs.items()},
    }


def _parts(beside: _Beside, run: Callable[..., Tensor], filling: int) -> dict[str, float]:
    """Seconds that a chunk spends in each kind of operator, once the window is full."""
    noise, text = beside.inputs(beside.options.seed)
    watch, stamps = profile(activities=[ProfilerActivity.CPU]), 0

    def stamp() -> None:
        nonlocal stamps
        if stamps == filling:
            watch.start()
        if stamps == filling + 1:
            watch.stop()
        stamps += 1

    run(noise[:, : (filling + 1) * beside.options.chunk], text, 0, stamp)
    kinds = {f"aten::{name}": part for part, names in _PARTS.items() for name in names}
    parts = dict.fromkeys((*_PARTS, "element by element"), 0.0)
    for event in watch.key_averages():
        part = kinds.get(event.key, "element by element")
        parts[part] += event.self_cpu_time_total / 1e6
    return parts


def _random_weights(shapes: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """For every weight values that leave its layer's outputs about as large as its inputs."""
    draw = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        values = torch.randn(shape.shape, generator=draw)
        if name.endswith("modulation"):
            made[name] = 0.3 * values
        elif name.endswith("bias"):
            made[name] = 0.1 * values
        elif shape.ndim == 1:
            made[name] = 1 + 0.1 * values
        else:
            made[name] = values / shape[0].numel() ** 0.5
    return made
