"""From a preset's name and a place with its files to a model that makes chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..loading import load_preset_students
from ..locate import locate
from ..presets.catalogue import preset_named
from ..text.preset_reader import text_reader
from ..vae_files import load_decoder
from .conditioning.conditioner import Parts
from .conditioning.kinds import conditioners
from .contexts import contexts_kept
from .model import WanModel
from .row_calls import RowCalls


def open_model(
    name: str,
    places: Sequence[str],
    *,
    size: tuple[int, int] | None,
    sessions: int,
    decoder_file: Path | None = None,
) -> WanModel:
    """A preset's model with the files in `places` (`locate.locate`), for so many streams at once.

    It computes on the GPU in bfloat16 where there is one, else on the CPU in float32. `size` is the
    width and height of frames, None for the preset's own. `decoder_file` decodes in the place of
    the VAE's own decoder (`vae_files.load_decoder`).

    Raises FileNotFoundError for files that are missing, ValueError for what does not fit.
    """
    preset = preset_named(name)
    size = size or preset.size
    latent = preset.latent_size(size)
    files = locate(preset, places)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    reader = text_reader(preset, files)
    students = load_preset_students(preset, files, device=device, dtype=dtype)
    if device.type == "cuda":
        for each in (students.student, students.writer):
            if each is not None:
                each.pack()
    decoder = load_decoder(decoder_file or files.vae, preset.latents, device=device, dtype=dtype)
    parts = Parts(
        preset=preset,
        student=students.student.config,
        size=size,
        device=device,
        dtype=dtype,
        files=files,
        reader=reader,
    )
    calls = RowCalls(
        preset,
        students.student,
        conditioners(parts),
        latent,
        kept=contexts_kept(sessions),
        writer=students.writer,
    )
    return WanModel(preset, calls, decoder, size)
