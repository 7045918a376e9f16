"""Whether a preset fits this machine: its plan beside the memory that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ....kernels.gpu import Capability
from ...devices import device_named
from ...pipeline.stage_plan import Costs, choose_plan
from ..config_file import student_config
from ..locate import FilesMissing, locate
from ..number_types import NumberTypes
from ..presets.preset import Preset
from ..vae_files import VAE_DECODER
from .conditioning.kinds import check_encoder
from .decoders import check_tiny
from .memory_plan import CUDA_RESERVE, MemoryPlan, plan_memory

USUAL_GPU: Capability = (9, 0)
"""An H100: what is planned for where no GPU is named."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a model would run: "cuda", "cpu" or "mps", and the bytes that each stage has there.

    `free` is None where that cannot be found out. `capability` is that of a GPU.
    """

    device: str
    free: int | None
    capability: Capability | None = None

    @classmethod
    def here(cls, device: str | None = None, stages: int = 1) -> Machine:
        """This one, computing on `device` (`devices.device_named`, which may raise ValueError).

        Stages have GPUs in turn (`pipeline.links.OwnGpu`); those that share one, or a CPU's memory,
        have equal parts of it.
        """
        where = device_named(device)
        stages = int(os.environ.get("LOCAL_WORLD_SIZE", stages))
        if where.type != "cuda":
            free = _free_memory()
            return cls(where.type, None if free is None else free // stages)
        count = 1 if where.index is not None or stages == 1 else torch.cuda.device_count()
        gpus = [where] if count == 1 else [torch.device("cuda", k) for k in range(count)]
        used = gpus[:stages]
        shares = [torch.cuda.mem_get_info(each)[0] // -(-stages // count) for each in used]
        return cls("cuda", min(shares), torch.cuda.get_device_capability(where))

    @classmethod
    def with_memory(cls, free: int) -> Machine:
        """A GPU with so many bytes, wherever it is, for each stage."""
        return cls("cuda", free, USUAL_GPU)


def plan_on(
    preset: Preset,
    machine: Machine,
    places: Sequence[str],
    size: tuple[int, int] | None,
    decoder_file: Path | None = None,
    *,
    tiny_decoder_file: Path | None = None,
    encoder_file: Path | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    attention: str | None = None,
) -> MemoryPlan:
    """The plan of a preset on a machine, in types as `NumberTypes.named` has them.

    Where its files are in `places` the sizes are theirs, else those that are published; so it is
    with `decoder_file` and `encoder_file`, which take the place of the VAE's own, and with
    `tiny_decoder_file`, which is beside it. Raises ValueError
    for a size it cannot have, and for files that are none of its own.
    """
    device = torch.device(machine.device)
    types = NumberTypes.named(dtype, quantize, device, attention=attention)
    types.check_device(machine.device, machine.capability)
    files = student = decoder = None
    check_encoder(preset, encoder_file)
    if decoder_file is not None:
        decoder = VAE_DECODER.config_in(decoder_file, preset.latents)
    try:
        files = locate(preset, places)
        student = student_config(preset, files.config)
        decoder = decoder or VAE_DECODER.config_in(files.vae, preset.latents)
    except FilesMissing:
        # what is not there yet can be planned for all the same
        if places:
            raise
    tiny = None
    if tiny_decoder_file is not None:
        tiny = VAE_DECODER.config_in(tiny_decoder_file, preset.latents)
        check_tiny(tiny, decoder or VAE_DECODER.published(preset.latents))
    reserve = CUDA_RESERVE if machine.device == "cuda" else 0
    return plan_memory(
        preset,
        student=student,
        decoder=decoder,
        tiny_decoder=tiny,
        size=size,
        dtype=types.dtype,
        quantize=types.quantize,
        attention=types.attention,
        reserve=reserve,
        files=files,
        encoder=encoder_file,
        gpu=machine.capability,
    )


def check_stages(preset: Preset, stages: int) -> None:
    """Raise ValueError for more stages than can share the preset's work."""
    steps = preset.recipe.chunk_steps()
    choose_plan(stages, Costs(0.0, (1.0,) * len(steps.calls), 1.0), steps.cuts)


def _free_memory() -> int | None:
    """Memory of this machine that can be had without swapping (Linux)."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
    except OSError:
        return None
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None
