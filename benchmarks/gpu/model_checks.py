"""Whole models on the device at hand against the same weights on a CPU.

A student of Wan's width streams many chunks; every call is given the same latents on both sides, so
that an error can only grow by what the caches carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...kernels.dispatch import use_backend
from ...models.pocket.config import CACHE as POCKET_CACHE
from ...models.pocket.config import STUDENT as POCKET
from ...models.student.causal_student import NO_CONDITIONS, CausalStudent
from ...models.student.conditioning import Conditions, TextContext
from ...models.student.config import CacheConfig
from ...models.student.step_graphs import StepGraphs
from ...models.wan.decoder import WanDecoder
from .kernel_checks import Found, relative
from .random_students import KINDS, pocket_conditions, random_student, random_text

# Eight bits in some twenty places a layer where activations are rounded, 2e-3 each on average and
# added up as independent errors: 9e-3 a layer, of which the residual stream keeps a part.
_BFLOAT16_LIMIT = 2e-2
# Twenty-four bits in as many places; sums of thousands of products in another order.
_FLOAT32_LIMIT = 2e-5
# The decoder is some sixty roundings deep.
_DECODER_BFLOAT16_LIMIT = 4e-2


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of a model a check runs: Wan's width and heads in all, few layers and tokens."""

    device: torch.device
    latent_rows: int = 16
    latent_columns: int = 24
    layers: int = 2
    chunks: int = 8
    text_len: int = 64
    decoder_rows: int = 6
    decoder_columns: int = 8
    dim: int | None = None
    dtype: torch.dtype = torch.bfloat16


Calls = list[Tensor]


def model_checks() -> dict[str, Callable[[Reach], Found]]:
    """Every check by name."""
    checks: dict[str, Callable[[Reach], Found]] = {
        f"student, {name}": _student_check(name) for name in KINDS
    }
    checks |= {f"graphs, {name}": _graphs_check(name) for name in KINDS}
    checks["pocket student, float32"] = pocket_check
    checks["Wan decoder, float32"] = lambda reach: decoder_check(reach, torch.float32)
    checks["Wan decoder, bfloat16"] = lambda reach: decoder_check(reach, torch.bfloat16)
    return checks


def _student_check(name: str) -> Callable[[Reach], Found]:
    return lambda reach: student_check(reach, name)


def student_check(reach: Reach, name: str) -> Found:
    """A student of `KINDS[name]` in bfloat16 against float64; no worse than torch's operations."""
    torch.manual_seed(torch.seed() % 2**32)
    kind = KINDS[name]
    config = replace(kind.student, num_layers=reach.layers, text_len=reach.text_len)
    if reach.dim is not None:
        config = replace(config, dim=reach.dim, ffn_dim=2 * reach.dim, num_heads=2, text_dim=32)
    student = random_student(config, "cpu").to(reach.dtype)
    context = random_text(student)
    frames = torch.randn(1, 3 * reach.chunks, 16, reach.latent_rows, reach.latent_columns)
    frames = frames.to(reach.dtype)
    wide = TextContext(tuple((k.double(), v.double()) for k, v in context.layers))
    here = TextContext(tuple((k.to(reach.device), v.to(reach.device)) for k, v in context.layers))
    # One after another: `to` moves the weights of the same student.
    made = _stream(student.to(reach.device), kind.cache, frames, here)
    with use_backend("sdpa"):
        plain = _stream(student, kind.cache, frames, here)
    with use_backend("reference"):
        wanted = _stream(student.to("cpu", torch.float64), kind.cache, frames, wide)
    error, usual = _worst(made, wanted), _worst(plain, wanted)
    # Half as much again as torch's own operations at the same width, because both are noise.
    return Found(error, min(_BFLOAT16_LIMIT, 1.5 * usual))


def _graphs_check(name: str) -> Callable[[Reach], Found]:
    return lambda reach: graphs_check(reach, name)


@torch.no_grad()
def graphs_check(reach: Reach, name: str) -> Found:
    """Calls that are replayed from CUDA graphs against the same calls as they come, bit for bit.

    Where there is no CUDA they come as they do in either case.
    """
    torch.manual_seed(torch.seed() % 2**32)
    kind = KINDS[name]
    config = replace(kind.student, num_layers=reach.layers, text_len=reach.text_len)
    if reach.dim is not None:
        config = replace(config, dim=reach.dim, ffn_dim=2 * reach.dim, num_heads=2, text_dim=32)
    student = random_student(config, "cpu").to(reach.device, reach.dtype)
    student.pack()
    contexts = [random_text(student) for _ in range(2)]
    shape = (1, 3, 16, reach.latent_rows, reach.latent_columns)
    frames = torch.randn(2 * reach.chunks, *shape).to(reach.device, reach.dtype)

    def stream() -> Calls:
        cache, made = student.new_cache(kind.cache, height=shape[3], width=shape[4]), list[Tensor]()
        for number, latents in enumerate(frames):
            for time in (1000.0, 700.0, 0.0):
                context = contexts[number // 5 % 2]
                times = torch.full((1, 3), time)
                made.append(student.forward_rows(latents, times, [context], [cache]).cpu())
            cache.advance(3)
        return made

    wanted = stream()
    if reach.device.type == "cuda":
        student.graphs = StepGraphs.on_cuda()
    made = stream()
    if student.graphs is not None and not student.graphs.counts["replayed"]:
        return Found(float("inf"), 0.0)
    return Found(_worst(made, wanted), 0.0)


def pocket_check(reach: Reach) -> Found:
    """The pocket student, float32, heads of 32, against a CPU."""
    torch.manual_seed(torch.seed() % 2**32)
    student = random_student(POCKET, "cpu")
    context = random_text(student)
    assert POCKET.grid is not None
    frames = torch.randn(1, 8, POCKET.in_channels, *POCKET.grid)
    told = pocket_conditions(1, torch.device("cpu"))
    wanted = _stream(student, POCKET_CACHE, frames, context, told, chunk=1)
    there = Conditions(
        frames=_on(told.frames, reach), audio=_on(told.audio, reach),
        tracks=_on(told.tracks, reach), channels=_on(told.channels, reach),
    )  # fmt: skip
    layers = tuple((k.to(reach.device), v.to(reach.device)) for k, v in context.layers)
    with exact_float32():
        made = _stream(
            student.to(reach.device), POCKET_CACHE, frames, TextContext(layers), there, chunk=1
        )
    return Found(_worst(made, wanted), _FLOAT32_LIMIT)


def decoder_check(reach: Reach, dtype: torch.dtype) -> Found:
    """Wan's decoder as a stream of 1, 3 and 3 latents against one pass on a CPU, float32."""
    torch.manual_seed(torch.seed() % 2**32)
    decoder = WanDecoder().eval().requires_grad_(False).to(dtype)
    latents = torch.randn(1, 7, 16, reach.decoder_rows, reach.decoder_columns).to(dtype)
    wanted = decoder.float()(latents.float(), {})
    decoder.to(reach.device, dtype)
    memory: dict[str, Tensor] = {}
    with exact_float32():
        pieces = latents.to(reach.device).split((1, 3, 3), dim=1)
        made = torch.cat([decoder(piece, memory) for piece in pieces], dim=1)
    limit = 5e-5 if dtype == torch.float32 else _DECODER_BFLOAT16_LIMIT
    return Found(relative(made.cpu(), wanted), limit)


class exact_float32:
    """A context in which CUDA multiplies float32 as float32, not in TF32's 11 bits."""

    def __enter__(self) -> None:
        self._before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self._before


@torch.no_grad()
def _stream(
    student: CausalStudent,
    cache: CacheConfig,
    latents: Tensor,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    chunk: int = 3,
) -> Calls:
    """What the student answers in each of two calls on every chunk, with dead slots full of NaN."""
    weight = student.patch_embedding.weight
    kept = student.new_cache(cache, height=latents.shape[-2], width=latents.shape[-1])
    kept.poison()
    answers: Calls = []
    for frames in latents.to(weight.device, weight.dtype).split(chunk, dim=1):
        for time in (700.0, 0.0):
            times = torch.full(frames.shape[:2], time, device=weight.device)
            answers.append(student(frames, times, context, kept, conditions).cpu())
        kept.advance(chunk)
    return answers


def _worst(made: Calls, wanted: Calls) -> float:
    """Over all calls at once for NaN, call by call for the largest."""
    errors = torch.tensor([relative(a, b) for a, b in zip(made, wanted, strict=True)])
    return float(errors.max())


def _on(x: Tensor | None, reach: Reach) -> Tensor | None:
    return None if x is None else x.to(reach.device)
