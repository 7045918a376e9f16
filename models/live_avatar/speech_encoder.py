"""wav2vec 2.0 (arXiv 2006.11477) by transformers, in the two halves that a live signal needs.

Its convolutions see 25 ms and nothing else, so that what they made once stays true. Its transformer
sees everything that it is given, to both sides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..quiet_imports import quiet_imports
from ..upload import uploaded
from ..wan.checkpoint import open_checkpoint
from ..wan.names import Renamed
from ..wan.weight_files import BadCheckpoint
from ..wan.weights import WeightsDoNotFit, fill

if TYPE_CHECKING:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

HOP = 320
"""Samples from one frame of features to the next: 50 a second at 16 kHz."""
SEEN = 400
"""Samples that a frame is made of."""

_PREFIX = "wav2vec2."
# torch's two ways to keep a weight as its length and its direction
_LENGTHS = {"weight_g": "parametrizations.weight.original0"}
_LENGTHS |= {"weight_v": "parametrizations.weight.original1"}
_LENGTH = re.compile(r"(encoder\.pos_conv_embed\.conv)\.(weight_[gv])")
# wav2vec2-large-xlsr-53-english
_PUBLISHED = {
    "vocab_size": 33,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
# Needed only where features are masked, in training.
_UNUSED = "masked_spec_embed"


class SpeechEncoder:
    """Samples of 16 kHz, normalised, to the features of all layers."""

    def __init__(self, model: Wav2Vec2Model) -> None:
        """Raises ValueError for a model that cannot be run on a live signal."""
        config = model.config
        if config.feat_extract_norm != "layer":
            raise ValueError(
                f"feat_extract_norm {config.feat_extract_norm!r}: its first layer is normalised "
                "over the whole file, which a live signal does not have; use a model with 'layer', "
                "such as wav2vec2-large-xlsr-53-english"
            )
        if (_hop(config), _seen(config)) != (HOP, SEEN) or config.add_adapter:
            raise ValueError(
                f"frames of {_seen(config)} samples every {_hop(config)}, adapter "
                f"{config.add_adapter}; expected {SEEN} every {HOP}, and none"
            )
        self._model = model.eval().requires_grad_(False)
        self.width: int = config.hidden_size
        self.layers: int = config.num_hidden_layers + 1

    @property
    def module(self) -> nn.Module:
        """Its weights."""
        return self._model

    @torch.inference_mode()
    def convolve(self, samples: Tensor) -> Tensor:
        """Frames [N, C] of `samples` [S]: frame n sees samples 320 n to 320 n + 400."""
        weight = self._model.feature_projection.projection.weight
        heard = uploaded(samples[None], weight.device, weight.dtype)
        seen = self._model.feature_extractor(heard).transpose(1, 2)
        return self._model.feature_projection(seen)[0][0]

    @torch.inference_mode()
    def attend(self, frames: Tensor, wanted: slice = slice(None)) -> Tensor:
        """The `wanted` of the frames in every layer [L, N, C], of `frames` [T, C] that it sees.

        The last layer is normalised, as S2V was trained; transformers' `hidden_states` of version 5
        no longer are.
        """
        encoder = self._model.encoder
        x = frames[None]
        x = x + encoder.pos_conv_embed(x)
        before = not self._model.config.do_stable_layer_norm
        x = encoder.layer_norm(x) if before else x
        kept = [x[0, wanted]]
        for layer in encoder.layers:
            made = layer(x)
            # transformers 5.0 gives a tuple, later ones the tensor
            x = made[0] if isinstance(made, tuple) else made
            kept.append(x[0, wanted])
        if not before:
            kept[-1] = encoder.layer_norm(kept[-1])
        return torch.stack(kept)


def frames_in(samples: int) -> int:
    """Frames of so many samples."""
    return max(0, (samples - SEEN) // HOP + 1)


def load_speech_encoder(
    weights: Path, *, device: torch.device, dtype: torch.dtype
) -> SpeechEncoder:
    """The encoder of a published folder, by its file of weights with `config.json` beside it.

    Raises BadCheckpoint for files that hold none.
    """
    encoder = empty_speech_encoder(speech_config(weights))
    try:
        fill(encoder.module, encoder_weights(weights), device=device, dtype=dtype)
        return encoder
    except WeightsDoNotFit as error:
        raise BadCheckpoint(f"{weights} is no wav2vec 2.0 of its config.json: {error}") from error


def empty_speech_encoder(config: Wav2Vec2Config | None = None) -> SpeechEncoder:
    """An encoder on `meta`; without a `config` the published one of Wan2.2-S2V.

    Raises ValueError for one that cannot be run on a live signal.
    """
    # here: other models must not wait for transformers
    with quiet_imports():
        from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        model = Wav2Vec2Model(config or Wav2Vec2Config(**_PUBLISHED))
    # a parameter that only training has use for
    model.register_parameter(_UNUSED, None)
    return SpeechEncoder(model)


def speech_config(weights: Path) -> Wav2Vec2Config:
    """The configuration beside a file of weights. Raises BadCheckpoint where there is none."""
    with quiet_imports():
        from transformers import Wav2Vec2Config

    file = weights.parent / "config.json"
    try:
        given = json.loads(file.read_bytes())
        if given["model_type"] != "wav2vec2":
            raise ValueError(f"model_type {given['model_type']!r}")
        return Wav2Vec2Config(**given)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{file} is no configuration of wav2vec 2.0: {error}") from error


def encoder_weights(weights: Path) -> Mapping[str, Tensor]:
    """A file's weights by transformers' names, without those of a head for text."""
    published = open_checkpoint(weights)
    wrapped = any(name.startswith(_PREFIX) for name in published)

    def plain(name: str) -> str | None:
        if wrapped and not name.startswith(_PREFIX):
            return None
        inside = name.removeprefix(_PREFIX)
        return None if inside == _UNUSED else _LENGTH.sub(_modern, inside)

    return Renamed(published, plain)


def _modern(found: re.Match[str]) -> str:
    return f"{found[1]}.{_LENGTHS[found[2]]}"


def _hop(config: Wav2Vec2Config) -> int:
    hop = 1
    for stride in config.conv_stride:
        hop *= stride
    return hop


def _seen(config: Wav2Vec2Config) -> int:
    seen, step = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        seen += (kernel - 1) * step
        step *= stride
    return seen
