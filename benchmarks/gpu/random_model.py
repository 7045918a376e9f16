"""A preset's model with random weights made where it computes: no files, and its real code."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...models.device_queues import Queues
from ...models.load_options import LoadOptions
from ...models.student.causal_student import CausalStudent
from ...models.student.config import StudentConfig
from ...models.student.step_graphs import StepGraphs
from ...models.wan.decoder import WanDecoderConfig
from ...models.wan.loading import empty_student
from ...models.wan.presets.catalogue import preset_named
from ...models.wan.presets.preset import Preset
from ...models.wan.stream.conditioning.conditioner import Parts
from ...models.wan.stream.conditioning.kinds import conditioners
from ...models.wan.stream.contexts import contexts_kept
from ...models.wan.stream.first_chunks import meet_every_length, settle_self_attention
from ...models.wan.stream.model import WanModel
from ...models.wan.stream.open_model import model_on
from ...models.wan.stream.row_calls import RowCalls, records
from ...models.wan.text.embedding_bytes import to_bytes
from ...models.wan.text.reader import TextFiles, TextReader
from ...models.wan.text.store import TextStore
from ...models.wan.tiny_decoder import TinyDecoderConfig
from ...models.wan.vae_files import VAE_DECODER, Decoder, DecoderConfig
from ...models.wan.vae_layers import put_channels_last
from ...models.wan.weights import fill

PRESET = "reward-forcing"
_TINY_STUDENT = {
    "dim": 32, "ffn_dim": 64, "num_heads": 2, "num_layers": 1, "text_dim": 16, "text_len": 8,
}  # fmt: skip
_TINY_DECODER = WanDecoderConfig(dim=4, multipliers=(1, 2, 2, 2), residual_blocks=1)
_TINY_TINY = TinyDecoderConfig(widths=(8, 4, 4, 4))


@dataclass(frozen=True, slots=True)
class Measures:
    """How large a model is made; the defaults are as published."""

    tiny: bool = False
    tiny_decoder: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return torch.float32 if self.tiny else torch.bfloat16

    def student(self, config: StudentConfig) -> StudentConfig:
        """`config`, or the smallest student of its kind."""
        return replace(config, **_TINY_STUDENT) if self.tiny else config

    def decoder(self) -> DecoderConfig:
        """Wan's, or one in TAEHV's format."""
        if self.tiny_decoder:
            return _TINY_TINY if self.tiny else TinyDecoderConfig()
        return _TINY_DECODER if self.tiny else WanDecoderConfig()

    def size(self, preset: Preset) -> tuple[int, int]:
        """Width and height of frames."""
        return (64, 32) if self.tiny else preset.size


class Drawn(Mapping[str, Tensor]):
    """Random weights for a module on `meta`, each made when it is asked for.

    Matrices keep the size of what they multiply, norms are about one.
    """

    def __init__(self, shapes: Mapping[str, Tensor], device: torch.device) -> None:
        self._shapes, self._device = shapes, device

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name].shape
        made = torch.randn(shape, device=self._device)
        if len(shape) > 1:
            return made.mul_(max(1, shape[1:].numel()) ** -0.5)
        return made.mul_(0.02).add_(float(name.endswith(("weight", "gamma"))))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


class DrawnTexts(TextReader):
    """Reads every text at once: its embeddings are drawn, the same for the same text."""

    def __init__(self, config: StudentConfig) -> None:
        nowhere = Path(config.__class__.__name__)
        super().__init__(TextFiles(nowhere, nowhere, config.text_len), TextStore(nowhere, ""))
        self._shape = config.text_len, config.text_dim

    def has(self, text: str) -> bool:
        """It has all."""
        return True

    def get(self, text: str) -> bytes:
        """As from an encoder: one row for each token of a text of full length."""
        generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return to_bytes(torch.randn(self._shape, generator=generator))


def random_student(
    config: StudentConfig, device: torch.device, dtype: torch.dtype
) -> CausalStudent:
    """A student with drawn weights, one at a time in float32."""
    empty = empty_student(config)
    return fill(empty, Drawn(empty.state_dict(), device), device=device, dtype=dtype)


def random_decoder(
    config: DecoderConfig, device: torch.device, dtype: torch.dtype, *, channels_last: bool
) -> Decoder:
    """A decoder with drawn weights, with channels behind pixels as it is served on a GPU or not."""
    empty = VAE_DECODER.empty(config)
    decoder = fill(empty, Drawn(empty.state_dict(), device), device=device, dtype=dtype)
    if channels_last:
        put_channels_last(decoder)
    return decoder


def random_model(
    measures: Measures,
    device: torch.device,
    *,
    warm: bool = True,
    stand_in: Queues | None = None,
) -> WanModel:
    """The model as `open_model` makes it of files; `warm`: behind its first chunks, too.

    On a CPU `stand_in` has the queues of a GPU.
    """
    preset, dtype = preset_named(PRESET), measures.dtype
    config, size = measures.student(preset.student), measures.size(preset)
    latent = preset.latent_size(size)
    student = random_student(config, device, dtype)
    if device.type == "cuda":
        student.pack()
        student.graphs = StepGraphs.on_cuda() if records(preset) else None
    parts = Parts(
        preset=preset,
        student=config,
        network=student,
        size=size,
        device=device,
        dtype=dtype,
        reader=DrawnTexts(config),
    )
    calls = RowCalls(preset, student, conditioners(parts), latent, kept=contexts_kept(2))
    on_gpu = device.type == "cuda"
    decoder = random_decoder(measures.decoder(), device, dtype, channels_last=on_gpu)
    model = model_on(device, preset, calls, decoder, size)
    if stand_in is not None:
        model = WanModel(preset, calls, decoder, size, yuv=True, queues=stand_in)
    if device.type == "cuda" and warm:
        settle_self_attention(preset, config, latent, device, dtype)
        meet_every_length(model, preset)
    return model


def load(options: LoadOptions) -> WanModel:
    """For the server, which finds it as the model of another distribution (`served`)."""
    on_gpu = options.device != "cpu"
    model = random_model(Measures(tiny=not on_gpu), torch.device("cuda" if on_gpu else "cpu"))
    model.info = replace(model.info, name=SERVED)
    return model


SERVED = "random-wan"
