"""What a GPU can run, by plans of memory, and how fast it should be, by counts: estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .byte_counts import gigabytes

if TYPE_CHECKING:
    from ...models.wan.presets.preset import Preset

# Operations of a multiprocessor in a clock, in bfloat16, summed up in float32 (NVIDIA's
# architecture papers); of cards for games, whose rate for such sums is half of it, the lower one.
_OPERATIONS = {
    (8, 0): 2048, (8, 6): 512, (8, 9): 512, (9, 0): 4096, (10, 0): 8192, (12, 0): 512,
}  # fmt: skip
# Of that, what an H100 reached when it was measured (docs/kernels.md): a student's chunk, and its
# VAE's.
_STUDENT_SHARE = 0.4
_DECODER_SHARE = 0.18


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of one model on one GPU. `sessions` by its memory, 0: it does not fit; `fps` of one stream.

    `fps` is None for a GPU of which too little is known.
    """

    model: str
    size: tuple[int, int]
    total: int
    sessions: int
    fps: float | None

    def __str__(self) -> str:
        if not self.sessions:
            return f"{self.model} needs {gigabytes(self.total)}"
        width, height = self.size
        speed = "" if self.fps is None else f", about {self.fps:.0f} fps"
        room = f"{self.sessions} stream{'s' * (self.sessions > 1)}"
        return f"{self.model} {width}x{height}, {room} by memory{speed}"


def outlooks(
    free: int,
    capability: tuple[int, int],
    *,
    clock_hz: float | None,
    multiprocessors: int,
    dtype: str | None = None,
) -> list[Outlook]:
    """One model of each size of student, the smallest first, in `free` bytes of such a GPU.

    Raises ValueError for a GPU that is too old.
    """
    import torch

    from ...models.wan.number_types import NumberTypes
    from ...models.wan.stream.memory_plan import plan_memory

    types = NumberTypes.named(dtype, None, torch.device("cuda"))
    types.check_device("cuda", capability)
    each_clock = _OPERATIONS.get(capability)
    rate = None
    if clock_hz is not None and each_clock is not None and types.dtype != torch.float32:
        rate = clock_hz * multiprocessors * each_clock
    found: list[Outlook] = []
    for preset in sizes_of_students():
        plan = plan_memory(preset, dtype=types.dtype, gpu=capability)
        fps = None if rate is None else _fps(preset, rate)
        sessions = plan.sessions_in(free)
        found.append(Outlook(preset.name, preset.size, plan.total(1), sessions, fps))
    return found


def sizes_of_students() -> list[Preset]:
    """The first preset of each width and depth."""
    from ...models.wan.presets.catalogue import presets

    found: dict[tuple[int, int], Preset] = {}
    for preset in presets().values():
        found.setdefault((preset.student.dim, preset.student.num_layers), preset)
    return [preset for _, preset in sorted(found.items())]


def student_operations(preset: Preset) -> float:
    """Of a chunk behind a full window, in all its calls: products and attention."""
    config = preset.student
    tokens = config.tokens_per_frame(*preset.latent_size(preset.size))
    queries = preset.recipe.chunk_frames * tokens
    keys = preset.cache.capacity_frames * tokens + config.text_len
    attention = 4 * queries * keys * config.dim
    products = 2 * queries * (6 * config.dim**2 + 2 * config.dim * config.ffn_dim)
    calls = len(preset.recipe.chunk_steps().calls)
    return float(calls * config.num_layers * (attention + products))


def decoder_operations(preset: Preset) -> float:
    """Of the frames of a chunk in the middle of a stream."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ...models.wan.vae_files import VAE_DECODER

    decoder = VAE_DECODER.empty(VAE_DECODER.published(preset.latents))
    rows, columns = preset.latent_size(preset.size)
    memory: dict[str, torch.Tensor] = {}
    shape = (1, preset.recipe.chunk_frames, preset.latents.channels, rows, columns)
    latents = torch.zeros(shape, device="meta")
    with torch.inference_mode():
        decoder.decode(latents, memory)
        with FlopCounterMode(display=False) as count:
            decoder.decode(latents, memory)
    return float(count.get_total_flops())


def _fps(preset: Preset, rate: float) -> float:
    student_s = student_operations(preset) / (_STUDENT_SHARE * rate)
    decoder_s = decoder_operations(preset) / (_DECODER_SHARE * rate)
    return preset.recipe.chunk_frames * preset.latents.frames / (student_s + decoder_s)
