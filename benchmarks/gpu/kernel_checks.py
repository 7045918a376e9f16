"""Every kernel against its float64 definition, on the device at hand and at a model's sizes.

Inputs are drawn anew from system entropy, memory that a kernel sets aside is full of NaN, and so is
every slot that it must not read. Each runs three times and must give the same bits. Errors are
relative: the root mean square of the difference over that of the definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...kernels.axis_rotations import AxisRotations
from ...kernels.block_sparse.block_list import BlockList, blocks_of
from ...kernels.block_sparse.block_sparse import block_sparse
from ...kernels.block_sparse.global_branch import GlobalBranch
from ...kernels.block_sparse.reference import block_sparse_ref
from ...kernels.counter_noise.counter_noise import counter_noise
from ...kernels.counter_noise.reference import counter_noise_ref
from ...kernels.dense_attention.reference import attention_ref
from ...kernels.dispatch import attention
from ...kernels.ema_sink.ema_sink import ema_sink
from ...kernels.ema_sink.reference import ema_sink_ref
from ...kernels.key_rotation.key_rotation import rotate_keys
from ...kernels.key_rotation.reference import rotate_keys_ref
from ...kernels.modulation.modulation import modulate
from ...kernels.modulation.reference import modulate_ref
from ...kernels.norm_rope_write.norm_rope_write import norm_rope_write
from ...kernels.norm_rope_write.reference import norm_rope_write_ref
from ...kernels.norm_silu.norm_silu import norm_silu
from ...kernels.norm_silu.reference import norm_silu_ref
from ...kernels.norm_silu.sum_norm_silu import sum_norm_silu
from ...kernels.normed_attention.normed_attention import normed_attention
from ...kernels.normed_attention.reference import normed_attention_ref
from ...kernels.residual_norm.reference import (
    residual_layer_norm_ref,
    residual_modulate_ref,
)
from ...kernels.residual_norm.residual_norm import residual_layer_norm, residual_modulate
from ...kernels.ring_attention.reference import ring_attention_ref
from ...kernels.ring_attention.ring_attention import ring_attention
from ...kernels.ring_plan import FrameWrite, SinkFold, Span, spans_of
from ...kernels.rms_norm.reference import rms_norm_ref
from ...kernels.rms_norm.rms_norm import rms_norm
from ...kernels.yuv420.reference import yuv420_ref
from ...kernels.yuv420.yuv420 import yuv420

# Weights, rotated keys and outputs are rounded to 8 or 11 bits, 2 ** -9 or 2 ** -12 at most of each
# and less on average: about two such roundings. float32 rounds to 24 bits, but sums up to 20000
# products one after another.
LIMITS = {torch.bfloat16: 5e-3, torch.float16: 7e-4, torch.float32: 1e-5}
# Of log-sum-exps: scores are float32 whatever the inputs.
_LSE_LIMIT = 1e-5


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the checks run: frames of `rows` x `columns` tokens in caches of `frames` frames."""

    device: torch.device
    rows: int = 30
    columns: int = 52
    frames: int = 12

    @property
    def tokens(self) -> int:
        """Tokens of a frame."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Found:
    """The largest relative error of a check and what it may be."""

    error: float
    limit: float

    @property
    def good(self) -> bool:
        """NaN is not."""
        return self.error <= self.limit


Check = Callable[[Grid], Found]


def kernel_checks(*, bfloat16: bool = True) -> dict[str, Check]:
    """Every check by name; without `bfloat16` those that Triton's interpreter can run."""
    half = torch.bfloat16 if bfloat16 else torch.float16
    checks: dict[str, Check] = {}
    for dtype in dict.fromkeys((half, torch.float16, torch.float32)):
        kind = str(dtype).removeprefix("torch.")
        heads = 12 if dtype == half else 2
        checks[f"ring attention, {kind}"] = partial(_ring, dtype=dtype, heads=heads, shared=heads)
        for rest in (False, True):
            branch = ", means" if rest else ""
            checks[f"block sparse, 128 x 64{branch}, {kind}"] = partial(
                _sparse, dtype=dtype, heads=2, shared=2, blocks=(128, 64), rest=rest
            )
        for shadow in (False, True):
            kept = ", shadow" if shadow else ""
            checks[f"EMA sink{kept}, {kind}"] = partial(_ema, dtype=dtype, heads=12, shadow=shadow)
        checks[f"normed attention, {kind}"] = partial(
            _normed_attention, dtype=dtype, heads=heads, dim=128, keys=77
        )
        checks[f"rotated keys, {kind}"] = partial(_rotate, dtype=dtype, heads=heads)
        checks[f"modulation, {kind}"] = partial(_modulation, dtype=dtype, width=1536)
        checks[f"norm and SiLU, {kind}"] = partial(_norm_silu, dtype=dtype, channels=96)
        checks[f"sum, norm and SiLU, {kind}"] = partial(_sum_norm_silu, dtype=dtype, channels=96)
        checks[f"YUV420, {kind}"] = partial(_yuv420, dtype=dtype)
        checks[f"RMS norm, {kind}"] = partial(_rms_norm, dtype=dtype, width=1536)
        for gated in (False, True):
            of = "gate, residual" if gated else "residual"
            checks[f"{of} and norm, {kind}"] = partial(
                _residual_norm, dtype=dtype, width=1536, gated=gated
            )
        for rotated in (False, True):
            stored = "rotated" if rotated else "raw"
            checks[f"norm, RoPE and write, {stored}, {kind}"] = partial(
                _write, dtype=dtype, heads=12, rotated=rotated
            )
    for heads in (24, 40):
        width = 128 * heads
        checks[f"ring attention, {heads} heads"] = partial(
            _ring, dtype=half, heads=heads, shared=heads
        )
        checks[f"block sparse, {heads} heads"] = partial(
            _sparse, dtype=half, heads=heads, shared=heads, blocks=(128, 128), rest=True
        )
        checks[f"rotated keys, {heads} heads"] = partial(_rotate, dtype=half, heads=heads)
        checks[f"EMA sink, {heads} heads"] = partial(_ema, dtype=half, heads=heads, shadow=True)
        checks[f"modulation, width {width}"] = partial(_modulation, dtype=half, width=width)
        checks[f"RMS norm, width {width}"] = partial(_rms_norm, dtype=half, width=width)
        checks[f"gate, residual and norm, width {width}"] = partial(
            _residual_norm, dtype=half, width=width, gated=True
        )
        checks[f"norm, RoPE and write, {heads} heads"] = partial(
            _write, dtype=half, heads=heads, rotated=True
        )
    for dtype in dict.fromkeys((half, torch.float32)):
        kind = str(dtype).removeprefix("torch.")
        checks[f"noise by counter, {kind}"] = partial(_noise, dtype=dtype)
    for channels in (192, 384, 1024):
        checks[f"norm and SiLU, {channels} channels"] = partial(
            _norm_silu, dtype=half, channels=channels
        )
        checks[f"sum, norm and SiLU, {channels} channels"] = partial(
            _sum_norm_silu, dtype=half, channels=channels
        )
    for heads, dim, keys in ((12, 128, 512), (40, 128, 257), (4, 64, 512), (4, 96, 33)):
        checks[f"normed attention, {heads} heads of {dim}, {keys} keys"] = partial(
            _normed_attention, dtype=half, heads=heads, dim=dim, keys=keys
        )
    checks["ring attention, shared heads"] = partial(_ring, dtype=half, heads=12, shared=4)
    for dim in (64, 96):
        checks[f"ring attention, heads of {dim}"] = partial(
            _ring, dtype=half, heads=4, shared=4, dim=dim
        )
    for blocks in ((128, 128), (64, 64)):
        size = f"{blocks[0]} x {blocks[1]}"
        checks[f"block sparse, {size}"] = partial(
            _sparse, dtype=half, heads=6, shared=2, blocks=blocks, rest=False
        )
        checks[f"block sparse, {size}, means"] = partial(
            _sparse, dtype=half, heads=6, shared=2, blocks=blocks, rest=True
        )
    checks |= {
        "attention, half": partial(_dispatched, dtype=half, heads=12, dim=128),
        "attention, shared heads": partial(_dispatched, dtype=half, heads=12, dim=128, shared=4),
        "attention, heads of 384": partial(_dispatched, dtype=half, heads=1, dim=384),
        "attention, heads of 10": partial(_dispatched, dtype=half, heads=2, dim=10),
        "attention, float32": partial(_dispatched, dtype=torch.float32, heads=6, dim=32),
    }
    return checks


_times = 3


@contextmanager
def repeating(times: int) -> Iterator[None]:
    """Within it every check runs its kernel so many times, in place of three."""
    global _times
    before, _times = _times, times
    try:
        yield
    finally:
        _times = before


def repeated(call: Callable[[], tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], float]:
    """What `call` made, in memory full of NaN, and 0; NaN if not the same bits each time.

    It gives its results alone: what it changes in place is drawn anew for every call.
    """
    with poisoned_outputs():
        made = call()
        others = [call() for _ in range(_times - 1)]
    same = all(
        torch.equal(a.view(torch.uint8), b.view(torch.uint8))
        for other in others
        for a, b in zip(made, other, strict=True)
    )
    return made, 0.0 if same else math.nan


@contextmanager
def poisoned_outputs() -> Iterator[None]:
    """Memory that is set aside is full of NaN or 1, so that an element never written shows."""
    plain: Any = Tensor.new_empty

    def poisoned(self: Tensor, *size: Any, **options: Any) -> Tensor:
        made = plain(self, *size, **options)
        return made.fill_(math.nan if made.is_floating_point() else 1)

    Tensor.new_empty = poisoned
    try:
        yield
    finally:
        Tensor.new_empty = plain


def relative(made: Tensor, wanted: Tensor) -> float:
    """NaN if either has one, or if shapes differ in their number of elements."""
    difference = made.double() - wanted.double()
    return float(difference.norm() / wanted.double().norm().clamp_min(1e-30))


def random_rotations(grid: Grid, dim: int, places: int) -> AxisRotations:
    """Random angles: a wrong entry anywhere shows."""
    side = dim // 6
    front = dim // 2 - 2 * side
    count = (grid.rows + grid.columns) * side + places * front
    angles = 2 * math.pi * torch.rand(count, device=grid.device)
    return AxisRotations(angles.cos(), angles.sin(), grid.rows, grid.columns, front, side)


def _fresh() -> None:
    """New inputs for every check; the seed is what torch says in a failure's traceback."""
    torch.manual_seed(torch.seed() % 2**32)


def _ring(grid: Grid, *, dtype: torch.dtype, heads: int, shared: int, dim: int = 128) -> Found:
    """A wrapped ring with a sink, dead frames at the end, and a last block of queries not full."""
    _fresh()
    tokens, slots = grid.tokens, (grid.frames + 2) * grid.tokens
    queries = tokens + tokens // 3
    query = torch.randn(1, queries, heads, dim, device=grid.device).to(dtype).transpose(1, 2)
    key, value = torch.randn(2, 1, shared, slots, dim, device=grid.device).to(dtype).unbind(0)
    key[:, :, grid.frames * tokens :] = value[:, :, grid.frames * tokens :] = math.nan
    new = (grid.frames - 3) // 2
    old = grid.frames - 3 - new
    spans = (
        Span(0, 3 * tokens),
        Span(3 * tokens, new * tokens),
        Span((3 + new) * tokens, old * tokens),
    )
    (out, lse), differs = repeated(lambda: ring_attention(query, key, value, spans))
    errors = [differs]
    group = heads // shared
    # Head by head, because scores in float64 are large.
    for head in range(heads):
        own = slice(head // group, head // group + 1)
        wanted, wanted_lse = ring_attention_ref(
            query[:, head : head + 1], key[:, own], value[:, own], spans
        )
        limit = min(LIMITS[dtype], _LSE_LIMIT)
        scaled = relative(lse[:, head], wanted_lse[:, 0]) / limit * LIMITS[dtype]
        errors += [relative(out[:, head], wanted[:, 0]), scaled]
    return Found(_worst(errors), LIMITS[dtype])


def _sparse(
    grid: Grid,
    *,
    dtype: torch.dtype,
    heads: int,
    shared: int,
    blocks: tuple[int, int],
    rest: bool,
) -> Found:
    """Random lists, some rows empty, last blocks short."""
    _fresh()
    # Float32 has no tensor cores: a few blocks tell as much.
    queries = min(grid.tokens, 300) if dtype == torch.float32 else grid.tokens
    keys = 3 * queries + 37
    query = torch.randn(1, heads, queries, 128, device=grid.device).to(dtype)
    key, value = torch.randn(2, 1, shared, keys, 128, device=grid.device).to(dtype).unbind(0)
    shape = (1, heads, blocks_of(queries, blocks[0]), blocks_of(keys, blocks[1]))
    mask = torch.rand(shape, device=grid.device) < 0.3
    mask[:, :, 0] = False
    listed = BlockList.from_mask(mask, *blocks)
    means = GlobalBranch.of(key, value, listed) if rest else None
    (out, lse), differs = repeated(lambda: block_sparse(query, key, value, listed, rest=means))
    wanted, wanted_lse = block_sparse_ref(query, key, value, listed, rest=means)
    empty = wanted_lse.isinf()
    same = torch.equal(lse.isinf(), empty) and not out[empty].any()
    errors = [
        relative(out, wanted),
        relative(lse.masked_fill(empty, 0.0), wanted_lse.masked_fill(empty, 0.0)),
        0.0 if same else math.nan,
        differs,
    ]
    return Found(_worst(errors), LIMITS[dtype])


def _ema(grid: Grid, *, dtype: torch.dtype, heads: int, shadow: bool) -> Found:
    """Four frames fold into a sink of three, so that one is folded twice; writes wrap."""
    _fresh()
    tokens, window = grid.tokens, grid.frames - 3
    shape = (1, heads, grid.frames * tokens, 128)
    new = torch.randn(2, 1, 4 * tokens, heads, 128, device=grid.device).to(dtype).transpose(2, 3)
    fold = SinkFold(3, window, frames=4, gone=window - 2, place=1, alpha=0.9)
    writes = (FrameWrite(0, 1 + window, 2), FrameWrite(2, 3, 2))
    start = torch.randn(2, *shape, device=grid.device).to(dtype)
    sinks = torch.randn(2, 1, heads, 3 * tokens, 128, device=grid.device)

    def folded(operation: Callable[..., None]) -> tuple[Tensor, Tensor]:
        caches, shadows = start.clone(), sinks.clone()
        kept: dict[str, Any] = {"shadow_key": shadows[0], "shadow_value": shadows[1]}
        operation(
            *caches, *new, fold=fold, writes=writes, frame_tokens=tokens,
            **(kept if shadow else {}),
        )  # fmt: skip
        return caches, shadows

    (made, made_sink), differs = repeated(partial(folded, ema_sink))
    wanted, wanted_sink = folded(ema_sink_ref)
    written = made[:, :, :, 3 * tokens :], wanted[:, :, :, 3 * tokens :]
    errors = [
        relative(made, wanted),
        # In float32 whatever the cache's type, and not rounded anywhere.
        relative(made_sink, wanted_sink) * LIMITS[dtype] / LIMITS[torch.float32],
        0.0 if torch.equal(*written) else math.nan,
        differs,
    ]
    return Found(_worst(errors), LIMITS[dtype])


def _rotate(grid: Grid, *, dtype: torch.dtype, heads: int) -> Found:
    """A wrapped ring with a sink, a view of a longer cache."""
    _fresh()
    tokens = grid.tokens
    shape = (1, heads, (grid.frames + 1) * tokens, 128)
    key = torch.randn(shape, device=grid.device).to(dtype)[:, :, : grid.frames * tokens]
    new = (grid.frames - 3) // 2
    order = [*range(3), *range(grid.frames - new, grid.frames), *range(3, grid.frames - new)]
    spans, rotations = spans_of(order, tokens), random_rotations(grid, 128, grid.frames)
    (made,), differs = repeated(lambda: (rotate_keys(key, spans, rotations),))
    error = relative(made, rotate_keys_ref(key, spans, rotations))
    return Found(_worst([error, differs]), LIMITS[dtype])


def _modulation(grid: Grid, *, dtype: torch.dtype, width: int) -> Found:
    _fresh()
    x = (3 + torch.randn(2, 3 * grid.tokens, width, device=grid.device)).to(dtype)
    six = torch.randn(2, 3, 6, width, device=grid.device).to(dtype).unsqueeze(3).unbind(2)
    (made,), differs = repeated(lambda: (modulate(x, six[1], six[4], 1e-6),))
    error = relative(made, modulate_ref(x, six[1], six[4], 1e-6))
    return Found(_worst([error, differs]), LIMITS[dtype])


def _rms_norm(grid: Grid, *, dtype: torch.dtype, width: int) -> Found:
    """Rows that lie in a wider matrix."""
    _fresh()
    x = torch.randn(2, grid.tokens, 3 * width, device=grid.device).to(dtype)[:, :, :width]
    weight = (1 + 0.3 * torch.randn(width, device=grid.device)).to(dtype)
    (made,), differs = repeated(lambda: (rms_norm(x, weight, 1e-6),))
    error = relative(made, rms_norm_ref(x, weight, 1e-6))
    return Found(_worst([error, differs]), LIMITS[dtype])


def _normed_attention(grid: Grid, *, dtype: torch.dtype, heads: int, dim: int, keys: int) -> Found:
    """To keys that lie as they are projected, whose last tile is not full unless they are 512."""
    _fresh()
    queries = min(grid.tokens, 300) if dtype == torch.float32 else 3 * grid.tokens - 7
    query = torch.randn(1, queries, heads * dim, device=grid.device).to(dtype)
    weight = (1 + 0.3 * torch.randn(heads * dim, device=grid.device)).to(dtype)
    key, value = torch.randn(2, 1, keys, heads, dim, device=grid.device).to(dtype).transpose(2, 3)
    (made,), differs = repeated(lambda: (normed_attention(query, weight, key, value, 1e-6),))
    error = relative(made, normed_attention_ref(query, weight, key, value, 1e-6))
    return Found(_worst([error, differs]), LIMITS[dtype])


def _noise(grid: Grid, *, dtype: torch.dtype) -> Found:
    """Not an element may differ from the CPU's."""
    out = torch.empty(3, 16, 4 * grid.rows, 2 * grid.columns, dtype=dtype, device=grid.device)
    wanted = torch.from_numpy(counter_noise_ref(2**61 + 12345, 3, out.numel()))
    with poisoned_outputs():
        made = counter_noise(2**61 + 12345, 3, out).cpu().flatten()
    return Found(float((made != wanted.to(dtype)).sum()), 0.0)


def _norm_silu(grid: Grid, *, dtype: torch.dtype, channels: int) -> Found:
    """Into the end of a longer tensor, channels last, as before a convolution of a VAE."""
    _fresh()
    weight = (1 + 0.3 * torch.randn(channels, device=grid.device)).to(dtype)
    x = (1 + torch.randn(1, channels, 3, grid.rows, grid.columns, device=grid.device)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    room = torch.full_like(x[:, :, :1].expand(-1, -1, 5, -1, -1), math.nan)
    room = room.contiguous(memory_format=torch.channels_last_3d)
    norm_silu(x, weight, room[:, :, 2:])
    kept = room[:, :, :2].isnan().all()
    error = relative(room[:, :, 2:], norm_silu_ref(x, weight))
    return Found(error if kept else math.inf, LIMITS[dtype])


def _sum_norm_silu(grid: Grid, *, dtype: torch.dtype, channels: int) -> Found:
    """As `_norm_silu`, of a sum that takes the place of one of its parts."""
    _fresh()
    weight = (1 + 0.3 * torch.randn(channels, device=grid.device)).to(dtype)
    shape = (1, channels, 3, grid.rows, grid.columns)
    x, branch = (torch.randn(shape, device=grid.device).to(dtype) for _ in range(2))
    x = x.contiguous(memory_format=torch.channels_last_3d)
    branch = branch.contiguous(memory_format=torch.channels_last_3d)
    wanted = x + branch
    room = torch.full_like(x[:, :, :1].expand(-1, -1, 5, -1, -1), math.nan)
    room = room.contiguous(memory_format=torch.channels_last_3d)
    summed = sum_norm_silu(x, branch, weight, room[:, :, 2:])
    kept = room[:, :, :2].isnan().all() and torch.equal(summed, wanted)
    error = relative(room[:, :, 2:], norm_silu_ref(wanted, weight))
    return Found(error if kept else math.inf, LIMITS[dtype])


def _yuv420(grid: Grid, *, dtype: torch.dtype) -> Found:
    """Of odd sizes; within half a step, which a value between two levels has to be given."""
    _fresh()
    frames = 0.7 * torch.randn(3, 3, 8 * grid.rows + 1, 8 * grid.columns - 1, device=grid.device)
    frames = frames.to(dtype).contiguous(memory_format=torch.channels_last)
    with poisoned_outputs():
        made = yuv420(frames)
    return Found(float((made.cpu().double() - yuv420_ref(frames.cpu())).abs().max()), 0.75)


def _residual_norm(grid: Grid, *, dtype: torch.dtype, width: int, gated: bool) -> Found:
    """Both forms of the norm."""
    _fresh()
    x, branch = (2 + torch.randn(2, 2, 3 * grid.tokens, width, device=grid.device)).to(dtype)
    six = torch.randn(2, 3, 6, width, device=grid.device).to(dtype).unsqueeze(3).unbind(2)
    weight, bias = torch.randn(2, width, device=grid.device).to(dtype)
    errors: list[float] = []
    for operation, reference, parts in (
        (residual_modulate, residual_modulate_ref, (six[0], six[1])),
        (residual_layer_norm, residual_layer_norm_ref, (weight, bias)),
    ):
        given = x, branch, six[2] if gated else None, *parts, 1e-6
        made, differs = repeated(partial(operation, *given))
        errors += [differs, *map(relative, made, reference(*given))]
    return Found(_worst(errors), LIMITS[dtype])


def _write(grid: Grid, *, dtype: torch.dtype, heads: int, rotated: bool) -> Found:
    """A call of three frames that wraps; slots that no write names stay as they are."""
    _fresh()
    tokens, width = grid.tokens, 128 * heads
    projected = torch.randn(3, 1, 3 * tokens, width, device=grid.device).to(dtype)
    weights = (1 + 0.3 * torch.randn(2, width, device=grid.device)).to(dtype)
    rotations = random_rotations(grid, 128, grid.frames)
    writes = (FrameWrite(0, grid.frames - 1, 1), FrameWrite(1, 3, 2))
    start = torch.randn(2, 1, heads, grid.frames * tokens, 128, device=grid.device).to(dtype)
    # raw keys are stored turned as well
    start = start[[0, 1, 0]]

    def written(operation: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        caches = start.clone()
        out = operation(
            *projected, *weights, *caches[:2], rotation=rotations, place=grid.frames - 3,
            writes=writes, rotate_key=rotated, eps=1e-6,
            turned_key=None if rotated else caches[2],
        )  # fmt: skip
        return out, caches

    (made, made_caches), differs = repeated(partial(written, norm_rope_write))
    wanted, wanted_caches = written(norm_rope_write_ref)
    kept = slice(5 * tokens, (grid.frames - 1) * tokens)
    same = torch.equal(made_caches[..., kept, :], start[..., kept, :])
    errors = [
        relative(made, wanted), relative(made_caches, wanted_caches), 0.0 if same else math.nan,
        differs,
    ]  # fmt: skip
    return Found(_worst(errors), LIMITS[dtype])


def _dispatched(
    grid: Grid, *, dtype: torch.dtype, heads: int, dim: int, shared: int | None = None
) -> Found:
    """What `dispatch.attention` makes of columns that lie behind one another, as in a VAE."""
    _fresh()
    count = (heads, shared or heads, shared or heads)
    query, key, value = (
        torch.randn(2, n, dim, grid.tokens, device=grid.device).to(dtype).transpose(2, 3)
        for n in count
    )
    group = heads // (shared or heads)
    wide = (x.double().repeat_interleave(group, dim=1) for x in (key, value))
    with torch.no_grad():
        (made,), differs = repeated(lambda: (attention(query, key, value),))
    error = relative(made, attention_ref(query.double(), *wide))
    return Found(_worst([error, differs]), LIMITS[dtype])


def _worst(errors: list[float]) -> float:
    """The largest, or NaN if there is one: `max` alone would lose it."""
    return math.nan if any(map(math.isnan, errors)) else max(errors)
