"""What a preset needs of a device's memory, found without any: by running it on `meta`.

Weights and caches are counted, and so is whatever lives at once while a chunk is made and decoded.
What kernels need inside of themselves and what a driver keeps is not seen; `reserve` is for that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ....kernels.gpu import Capability, meta_stands_for
from ...student.causal_student import CausalStudent
from ...student.conditioning import Conditions, TextContext
from ...student.config import AttentionKind, CacheConfig, StudentConfig
from ...student.student_cache import StudentCache
from ..loading import empty_student
from ..locate import ModelFiles
from ..number_types import NumberTypes, Quantization, settle_all
from ..presets.preset import Preset
from ..vae_files import VAE_DECODER, Decoder, DecoderConfig
from ..vae_layers import put_channels_last
from .conditioning.conditioner import Entry, Parts
from .conditioning.kinds import conditioners
from .contexts import contexts_kept
from .decoders import decoded
from .live_bytes import LiveBytes
from .model import rgb_levels, yuv_levels
from .row_calls import RowCalls, records

CUDA_RESERVE = 1_000_000_000
"""For CUDA's context and libraries, and what kernels borrow; not measured."""
_BY_PIXELS = ("cache", "decoder_state", "conditioning_state", "denoising", "decoding", "graphs")
_SMALLER = (0.875, 0.75, 0.625, 0.5)
_STEADY = 1000
_MOST_SESSIONS = 1 << 20
_IMAGE_TOKENS = 257
"""Of CLIP's features of an image."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on the device that makes the chunks.

    Of a stream: `cache` (all `caches` of them together), `decoder_state`, `text` and
    `conditioning_state`. `student` has the weights for clean latents too, where they are others;
    `conditioning` those of encoders and the like. `denoising` and `decoding` are what lives beside
    the rest while a chunk is made, one chunk at a time: both at once if the decoder works `beside`
    the calls, as it does on a GPU. `graphs` is memory that recorded calls have for themselves.
    """

    name: str
    size: tuple[int, int]
    dtype: str
    student: int
    decoder: int
    conditioning: int
    cache: int
    caches: int
    decoder_state: int
    conditioning_state: int
    text: int
    denoising: int
    decoding: int
    graphs: int
    reserve: int
    beside: bool = False

    @property
    def weights(self) -> int:
        """Of student, decoder and conditioning."""
        return self.student + self.decoder + self.conditioning

    @property
    def working(self) -> int:
        """What a chunk needs for itself at its worst."""
        both = self.denoising, self.decoding
        return (sum(both) if self.beside else max(both)) + self.graphs

    def total(self, sessions: int, stages: int = 1) -> int:
        """Everything, for so many streams at once; of several stages that of the largest one.

        Each stage has all weights. Who makes which calls is only known when their times are
        measured, so that this is the most that a stage may get: an even share of the caches where
        the decoder has a stage of its own, and the decoder where it may not have one.
        """
        always = self.weights + self.working + contexts_kept(sessions) * self.text + self.reserve
        if stages == 1:
            return always + sessions * (self.cache + self.decoder_state + self.conditioning_state)
        one = self.cache // self.caches
        share = -(-self.caches // (stages - 1)) * one + self.conditioning_state
        if stages <= self.caches:
            share += self.decoder_state
        # the first stage measures all parts of a chunk, one cache after another
        measuring = one + self.decoder_state + self.conditioning_state
        return always + max(sessions * max(share, self.decoder_state), measuring)

    def sessions_in(self, memory: int, stages: int = 1) -> int:
        """How many streams fit where each stage has so many bytes; 0: not even one."""
        return bisect_right(range(1, _MOST_SESSIONS), memory, key=lambda n: self.total(n, stages))


def plan_memory(
    preset: Preset,
    *,
    student: StudentConfig | None = None,
    decoder: DecoderConfig | None = None,
    tiny_decoder: DecoderConfig | None = None,
    size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    quantize: Quantization | None = None,
    attention: AttentionKind = "exact",
    reserve: int = CUDA_RESERVE,
    files: ModelFiles | None = None,
    encoder: Path | None = None,
    gpu: Capability | None = None,
) -> MemoryPlan:
    """The plan of a preset as published, or with other sizes; `files` have those of conditioning.

    `encoder` is a file whose encoder takes the place of the VAE's, `tiny_decoder` one that is kept
    beside the decoder.

    On a GPU of that compute capability, or with torch's own operators (None). Raises ValueError for
    a `size` that the preset cannot have.
    """
    size = size or preset.size
    config, device = student or preset.student, torch.device("meta")
    types = NumberTypes(dtype, quantize, attention)
    students = [empty_student(config).to(dtype) for _ in range(1 + preset.recipe.clean_expert)]
    weights = sum(types.weight_bytes(each) for each in students)
    if quantize == "fp8-dynamic":
        # tokens live in 8 bits, too
        for each in students:
            settle_all(each, types)
    students[0].attention = attention
    shapes = [decoder or VAE_DECODER.published(preset.latents)]
    shapes += [] if tiny_decoder is None else [tiny_decoder]
    decoders = [VAE_DECODER.empty(each).to(dtype) for each in shapes]
    if gpu is not None:
        for each in decoders:
            put_channels_last(each)
    rows, columns = preset.latent_size(size)
    parts = Parts(
        preset=preset,
        student=config,
        network=students[0],
        size=size,
        device=device,
        dtype=dtype,
        files=files,
        encoder=encoder,
    )
    kinds = conditioners(parts)
    calls = RowCalls(preset, students[0], kinds, (rows, columns), kept=1, writer=_second(students))
    with torch.inference_mode(), nullcontext() if gpu is None else meta_stands_for(gpu):
        contexts = [blank_context(each) for each in students]
        caches = [calls.new_cache() for _ in range(calls.chunk_steps.caches)]
        denoising, kept = _denoising(calls, caches[0], contexts[0], (rows, columns))
        shape = (1, preset.recipe.chunk_frames, config.in_channels, rows, columns)
        latents = torch.zeros(shape, dtype=dtype, device=device)
        levels = rgb_levels if gpu is None else yuv_levels
        # while one takes over a stream is in the memory of both, and they work one behind the other
        worked, memories = zip(
            *(_decoding(each, latents, levels) for each in decoders), strict=True
        )
    return MemoryPlan(
        name=preset.name,
        size=size,
        dtype=types.name,
        student=weights,
        decoder=sum(map(_module_bytes, decoders)),
        conditioning=_bytes(*(weight for each in kinds for weight in each.weights())),
        cache=sum(_bytes(*cache.tensors().values()) for cache in caches)
        + len(caches) * (_bytes(*caches[0].derived()) + _noted(caches[0].config, latents)),
        caches=len(caches),
        decoder_state=sum(_bytes(*memory.values()) for memory in memories),
        conditioning_state=kept,
        text=_bytes(*(part for context in contexts for part in _keys_values(context))),
        denoising=denoising + types.largest_copy(students[0]),
        decoding=max(worked),
        # what a call needs, in a pool of their own, and a copy of the text that is attended to
        graphs=denoising + _bytes(*_keys_values(contexts[0])) if gpu and records(preset) else 0,
        reserve=reserve,
        beside=gpu is not None,
    )


def _noted(config: CacheConfig, latents: torch.Tensor) -> int:
    """The latents of all chunks, such as `latents`, that a cache can hold frames of.

    It notes them (`StudentCache.past`), so that it can be filled again.
    """
    return -(-config.capacity_frames // latents.shape[1]) * _bytes(latents)


def quantized(
    plan: MemoryPlan, preset: Preset, dtype: torch.dtype, quantize: Literal["int8", "fp8"]
) -> MemoryPlan:
    """A plan of `preset` in `dtype` with its student's weights in 8 bits; all else stays."""
    types = NumberTypes(dtype, quantize)
    students = [empty_student(preset.student)] * (1 + preset.recipe.clean_expert)
    return replace(
        plan,
        dtype=types.name,
        student=sum(types.weight_bytes(each) for each in students),
        denoising=plan.denoising + types.largest_copy(students[0]),
    )


def smaller_size(
    plan: MemoryPlan, sessions: int, memory: int, stages: int = 1
) -> MemoryPlan | None:
    """A plan of the same shape of picture, smaller, that fits; None: none does.

    By rule of three: all but the weights goes with the number of pixels.
    """
    for factor in _SMALLER:
        width, height = (round(side * factor / 32) * 32 for side in plan.size)
        share = width * height / (plan.size[0] * plan.size[1])
        scaled = {name: round(share * getattr(plan, name)) for name in _BY_PIXELS}
        smaller = replace(plan, size=(width, height), **scaled)
        if width and height and smaller.total(sessions, stages) <= memory:
            return smaller
    return None


def _denoising(
    calls: RowCalls, cache: StudentCache, context: TextContext, size: tuple[int, int]
) -> tuple[int, int]:
    """The most that lives beside weights and cache in a call with a full cache.

    And what conditioning keeps of a stream.
    """
    student, recipe = calls.student, calls.recipe
    config, frames = student.config, recipe.chunk_frames
    position = _STEADY * frames
    cache.load(cache.tensors(), {"position": position, "end": position, "sink": True})
    weights = [weight for each in calls.conditioners for weight in each.weights()]
    known = (*student.parameters(), *cache.tensors().values(), *_keys_values(context), *weights)
    live = LiveBytes(known)
    with live:
        joint = recipe.sampler == "joint"
        seen = frames * (len(recipe.steps) if joint else 1)
        shape = (1, seen, config.in_channels, *size)
        latents = torch.zeros(shape, dtype=calls.weight.dtype, device="meta")
        conditions = blank_conditions(config, seen, size, calls.weight.dtype)
        times = torch.zeros(shape[:2], device="meta")
        student(latents, times, context, cache, conditions, store=not joint)
        if not joint:
            cache.advance(frames)
        entry = Entry(cache, False, student, context, conditions)
        stays = [tensor for each in calls.conditioners for tensor in each.rehearse(entry)]
    # what a cache derives from its keys stays for the next chunk
    return live.peak - _bytes(*cache.derived()), _bytes(*stays)


def blank_conditions(
    config: StudentConfig, frames: int, size: tuple[int, int], dtype: torch.dtype
) -> Conditions:
    """Conditions of a student's call on so many latent frames, on `meta`."""

    def blank(*shape: int) -> Tensor | None:
        return torch.zeros(1, *shape, dtype=dtype, device="meta") if all(shape) else None

    avatar = config.avatar
    return Conditions(
        frames=blank(frames, config.frame_dim),
        audio=blank(frames, config.audio_tokens, config.audio_dim),
        tracks=blank(frames * config.track_stride, config.track_channels, *size),
        channels=blank(frames, config.extra_channels, *size),
        speech=None if avatar is None else blank(frames, avatar.audio_tokens + 2, config.dim),
    )


def blank_context(student: CausalStudent) -> TextContext:
    """What a student attends to of a text, and of an image if it sees one."""
    config, like = student.config, student.patch_embedding.weight
    text = like.new_zeros(1, config.text_len, config.text_dim)
    image = like.new_zeros(1, _IMAGE_TOKENS, config.image_dim) if config.image_dim else None
    return student.encode_text(text, image)


def _keys_values(context: TextContext) -> list[Tensor]:
    return [part for layer in (*context.layers, *context.images) for part in layer]


def _second(students: list[CausalStudent]) -> CausalStudent | None:
    return students[1] if len(students) > 1 else None


def _decoding(
    decoder: Decoder, latents: Tensor, levels: Callable[[Tensor], Tensor]
) -> tuple[int, dict[str, Tensor]]:
    """The most that lives beside weights and state, and the state itself."""
    memory: dict[str, Tensor] = {}
    live = LiveBytes((*decoder.parameters(), latents))
    with live:
        for _ in decoded(decoder, latents, memory, levels):
            pass
        # while it makes other chunks than the first, its state is replaced piece by piece
        before = live.peak = live.now
        # the frames of all pieces stay until the chunk is whole
        frames = list(decoded(decoder, latents, memory, levels))
    del frames
    return live.peak - before, memory


def _module_bytes(module: nn.Module) -> int:
    return _bytes(*module.parameters())


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
