"""What a preset needs of a device's memory, found without any: by running it on `meta`.

Weights and caches are counted, and so is whatever lives at once while a chunk is made and decoded.
What kernels need inside of themselves and what a driver keeps is not seen; `reserve` is for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...sampling.denoising import recache
from ...student.causal_student import NO_CONDITIONS, CausalStudent
from ...student.conditioning import TextContext
from ...student.config import StudentConfig
from ...student.kv_cache import StudentCache
from ..decoder import WanDecoder, WanDecoderConfig
from ..loading import empty_student
from ..presets.preset import Preset
from .live_bytes import LiveBytes
from .model import new_stream_cache, to_levels
from .prompts import contexts_kept

CUDA_RESERVE = 1_000_000_000
"""For CUDA's context and libraries, and what kernels borrow; not measured."""
_SMALLER = (0.875, 0.75, 0.625, 0.5)
_STEADY = 1000


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on the device that makes the chunks; `cache`, `decoder_state` and `text` a stream.

    `denoising` and `decoding` are what lives beside the rest while a chunk is made; one chunk is
    made at a time.
    """

    name: str
    size: tuple[int, int]
    dtype: str
    student: int
    decoder: int
    cache: int
    decoder_state: int
    text: int
    denoising: int
    decoding: int
    reserve: int

    @property
    def weights(self) -> int:
        """Of student and decoder."""
        return self.student + self.decoder

    @property
    def working(self) -> int:
        """What a chunk needs for itself at its worst."""
        return max(self.denoising, self.decoding)

    def total(self, sessions: int) -> int:
        """Everything, for so many streams at once."""
        streams = sessions * (self.cache + self.decoder_state) + contexts_kept(sessions) * self.text
        return self.weights + self.working + streams + self.reserve

    def sessions_in(self, memory: int) -> int:
        """How many streams fit into so many bytes; 0: not even one."""
        each = self.cache + self.decoder_state + self.text
        return max(0, (memory - self.total(0)) // each)


def plan_memory(
    preset: Preset,
    *,
    student: StudentConfig | None = None,
    decoder: WanDecoderConfig | None = None,
    size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    reserve: int = CUDA_RESERVE,
) -> MemoryPlan:
    """The plan of a preset as published, or with other sizes.

    Raises ValueError for a `size` that the preset cannot have.
    """
    size = size or preset.size
    config = student or preset.student
    empty = empty_student(config).to(dtype)
    with torch.device("meta"):
        decodes = WanDecoder(decoder).eval().to(dtype)
    rows, columns = preset.latent_size(size)
    shape = (1, preset.chunk, config.in_channels, rows, columns)
    text = torch.zeros(1, config.text_len, config.text_dim, dtype=dtype, device="meta")
    with torch.inference_mode():
        context = empty.encode_text(text)
        cache = new_stream_cache(preset, empty, rows, columns)
        denoising = _denoising(preset, empty, cache, context, shape)
        decoding, memory = _decoding(decodes, torch.zeros(shape, dtype=dtype, device="meta"))
    return MemoryPlan(
        name=preset.name,
        size=size,
        dtype=str(dtype).removeprefix("torch."),
        student=_module_bytes(empty),
        decoder=_module_bytes(decodes),
        cache=_bytes(*cache.tensors().values()),
        decoder_state=_bytes(*memory.values()),
        text=_bytes(*(part for layer in context.layers for part in layer)),
        denoising=denoising,
        decoding=decoding,
        reserve=reserve,
    )


def smaller_size(preset: Preset, plan: MemoryPlan, sessions: int, memory: int) -> MemoryPlan | None:
    """A plan of the same shape of picture, smaller, that fits; None: none does.

    By rule of three: all but the weights goes with the number of pixels.
    """
    fixed = plan.weights + plan.reserve + contexts_kept(sessions) * plan.text
    moving = plan.total(sessions) - fixed
    for factor in _SMALLER:
        width, height = (round(side * factor / 32) * 32 for side in plan.size)
        share = width * height / (plan.size[0] * plan.size[1])
        if width and height and fixed + share * moving <= memory:
            scaled = {
                name: round(share * getattr(plan, name))
                for name in ("cache", "decoder_state", "denoising", "decoding")
            }
            return replace(plan, size=(width, height), **scaled)
    return None


def _denoising(
    preset: Preset,
    student: CausalStudent,
    cache: StudentCache,
    context: TextContext,
    shape: tuple[int, ...],
) -> int:
    """The most that lives beside weights and cache in a call with a full cache."""
    position = _STEADY * preset.chunk
    cache.load(cache.tensors(), {"position": position, "end": position})
    dtype = student.patch_embedding.weight.dtype
    times = torch.zeros(shape[:2], device="meta")
    texts = [part for layer in context.layers for part in layer]
    live = LiveBytes((*student.parameters(), *cache.tensors().values(), *texts))
    with live:
        latents = torch.zeros(shape, dtype=dtype, device="meta")
        student(latents, times, context, cache, NO_CONDITIONS)
        if preset.prompt_switch == "recache":
            cache.advance(shape[1])
            held = latents.new_zeros(1, preset.cache.capacity_frames, *shape[2:])
            recache(student, cache, held, context)
    return live.peak


def _decoding(decoder: WanDecoder, latents: Tensor) -> tuple[int, dict[str, Tensor]]:
    """The most that lives beside weights and state, and the state itself."""
    memory: dict[str, Tensor] = {}
    live = LiveBytes((*decoder.parameters(), latents))
    with live:
        decoder.decode(latents, memory)
        # while it makes other chunks than the first, its state is replaced piece by piece
        before = live.peak = live.now
        to_levels(decoder.decode(latents, memory))
    return live.peak - before, memory


def _module_bytes(module: nn.Module) -> int:
    return _bytes(*module.parameters())


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
