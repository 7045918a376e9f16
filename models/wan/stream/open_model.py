"""From a preset's name and a place with its files to a model that makes chunks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from ...device_queues import queues_of
from ...devices import device_named
from ...load_options import LoadOptions
from ...student.step_graphs import StepGraphs
from ..loading import load_preset_students
from ..locate import locate
from ..number_types import NumberTypes
from ..presets.catalogue import preset_named
from ..presets.preset import Preset
from ..presets.speech import looking_ahead
from ..text.preset_reader import text_reader
from ..vae_files import VAE_DECODER, Decoder
from .conditioning.conditioner import Parts
from .conditioning.kinds import check_encoder, conditioners
from .contexts import contexts_kept
from .decoders import check_tiny
from .first_chunks import meet_every_length, settle_self_attention
from .model import WanModel
from .row_calls import RowCalls, records


def open_model(name: str, options: LoadOptions) -> WanModel:
    """A preset's model with the files in `options.weights` (`locate.locate`).

    Where it computes see `devices.device_named`, in which types `NumberTypes.named`.

    Raises FileNotFoundError for files that are missing, ValueError for what does not fit.
    """
    preset = looking_ahead(preset_named(name), options.lookahead_ms).with_steps(options.steps)
    size = options.size or preset.size
    latent = preset.latent_size(size)
    encoder = None if options.encoder is None else Path(options.encoder).expanduser()
    check_encoder(preset, encoder)
    files = locate(preset, options.weights)
    device = device_named(options.device)
    if device.index is not None:
        # kernels of torch and of Triton go to the current one
        torch.cuda.set_device(device)
    types = NumberTypes.named(options.dtype, options.quantize, device, attention=options.attention)
    on_gpu = device.type == "cuda"
    types.check_device(device.type, torch.cuda.get_device_capability(device) if on_gpu else None)
    reader = text_reader(preset, files)
    students = load_preset_students(preset, files, device=device, types=types)
    if on_gpu:
        for each in (students.student, students.writer):
            if each is not None:
                each.pack()
                each.graphs = StepGraphs.on_cuda() if records(preset) else None
    decodes = files.vae if options.decoder is None else Path(options.decoder).expanduser()
    tiny_file = None if options.tiny_decoder is None else Path(options.tiny_decoder).expanduser()
    if tiny_file is not None:
        check_tiny(*(VAE_DECODER.config_in(e, preset.latents) for e in (tiny_file, decodes)))
    load = partial(VAE_DECODER.load, latents=preset.latents, device=device, dtype=types.dtype)
    decoder, tiny = load(decodes), None if tiny_file is None else load(tiny_file)
    parts = Parts(
        preset=preset,
        student=students.student.config,
        network=students.student,
        size=size,
        device=device,
        dtype=types.dtype,
        files=files,
        encoder=encoder,
        reader=reader,
    )
    calls = RowCalls(
        preset,
        students.student,
        conditioners(parts),
        latent,
        kept=contexts_kept(options.sessions),
        writer=students.writer,
    )
    model = model_on(device, preset, calls, decoder, size, tiny=tiny)
    if on_gpu:
        settle_self_attention(preset, students.student.config, latent, device, types.dtype)
        meet_every_length(model, preset)
    return model


def model_on(
    device: torch.device,
    preset: Preset,
    calls: RowCalls,
    decoder: Decoder,
    size: tuple[int, int],
    tiny: Decoder | None = None,
) -> WanModel:
    """A model of these parts, which are on `device`, as it is served there.

    On a GPU frames are made as encoders take them, beside the calls that follow.
    """
    on_gpu = device.type == "cuda"
    queues = queues_of(device)
    return WanModel(preset, calls, decoder, size, tiny=tiny, yuv=on_gpu, queues=queues)
