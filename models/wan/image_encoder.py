"""What a Wan student attends to of a picture: CLIP's features (arXiv 2103.00020), by transformers.

Wan's image to video takes those of the layer before the last of a ViT-H, without the final norm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..quiet_imports import quiet_imports
from .checkpoint import open_checkpoint
from .names import Renamed
from .weight_files import BadCheckpoint
from .weights import WeightsDoNotFit, fill

with quiet_imports():
    from transformers import CLIPVisionConfig, CLIPVisionModel

PUBLISHED = CLIPVisionConfig(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=16,
    patch_size=14,
    image_size=224,
    hidden_act="gelu",
)
"""The encoder of Wan 2.1's image to video."""
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
_PREFIX = "vision_model."
# Wan's own file: its names of what is no part of a block, of the parts of a block, and the width of
# a head of a ViT-H
_WANS = "visual."
_WAN_BLOCK = re.compile(r"transformer\.(\d+)\.(.+)\.(weight|bias)")
_WAN_NAMES = {
    "cls_embedding": "embeddings.class_embedding",
    "pos_embedding": "embeddings.position_embedding.weight",
    "patch_embedding.weight": "embeddings.patch_embedding.weight",
    "pre_norm.weight": "pre_layrnorm.weight",
    "pre_norm.bias": "pre_layrnorm.bias",
    "post_norm.weight": "post_layernorm.weight",
    "post_norm.bias": "post_layernorm.bias",
}
_WAN_PARTS = {
    "attn.proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_HEAD_WIDTH = 80


class ImageEncoder:
    """CLIP's vision transformer without its last layer, which nobody reads."""

    def __init__(self, model: CLIPVisionModel) -> None:
        self._model: Any = model
        self._side = int(self._model.config.image_size)

    @classmethod
    def load(cls, weights: Path, *, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
        """Of a file beside its `config.json`, as diffusers' folders have them, or of Wan's own.

        Raises FileNotFoundError, and BadCheckpoint for files of another model.
        """
        published: Mapping[str, Tensor] = open_checkpoint(weights)
        is_wans = is_wan_image_encoder(published)
        if is_wans:
            published = _WanClip(published)
        config = _wan_config(published) if is_wans else _config(weights.parent / "config.json")
        layers = int(config.num_hidden_layers)
        model = _without_last_layer(config)
        prefix = _PREFIX if any(name.startswith(_PREFIX) for name in model.state_dict()) else ""

        def own(name: str) -> str | None:
            plain = name.removeprefix(_PREFIX)
            layer = _LAYER.match(plain)
            is_last = layer is not None and int(layer[1]) == layers - 1
            # older transformers saved the numbers of places too
            return None if is_last or plain.endswith("position_ids") else prefix + plain

        try:
            filled = fill(model, Renamed(published, own), device=device, dtype=dtype)
        except WeightsDoNotFit as error:
            raise BadCheckpoint(f"{weights} is no image encoder of CLIP: {error.misfit}") from error
        for part in filled.modules():
            places = getattr(part, "position_ids", None)
            if isinstance(places, Tensor):
                # no weights, so that nobody has filled them
                part.position_ids = torch.arange(places.shape[1], device=device)[None]
        return cls(filled)

    @classmethod
    def empty(cls, weights: Path | None, *, dtype: torch.dtype) -> ImageEncoder:
        """That of a file, or the published one, on `meta`: its sizes, and no memory."""
        config = PUBLISHED if weights is None else _config_of(weights)
        model: Any = _without_last_layer(config)
        return cls(model.to(dtype))

    @torch.inference_mode()
    def encode(self, picture: np.ndarray) -> Tensor:
        """Features [N, d] on the CPU, float32, of a picture uint8 RGB [H, W, 3]."""
        weight = next(self._model.parameters())
        seen = clip_pixels(picture, self._side).to(weight)
        return self._model(pixel_values=seen[None]).last_hidden_state[0].float().cpu()

    @property
    def weights(self) -> list[Tensor]:
        """Its weights."""
        return list(self._model.parameters())


def clip_pixels(picture: np.ndarray, side: int) -> Tensor:
    """What CLIP sees of a picture uint8 RGB [H, W, 3]: the square in its middle, [3, side, side].

    Scaled as CLIP's own preprocessing does, bicubic to the shorter side, and normalised.
    """
    height, width = picture.shape[:2]
    shorter = min(height, width)
    size = (side * width // shorter, side * height // shorter)
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    top, left = ((length - side) // 2 for length in small.shape[:2])
    square = torch.from_numpy(small[top : top + side, left : left + side].copy())
    colours = square.permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (_MEAN, _DEVIATION))
    return (colours - mean) / deviation


def _without_last_layer(config: CLIPVisionConfig) -> CLIPVisionModel:
    shorter = CLIPVisionConfig(**config.to_dict())
    shorter.num_hidden_layers = int(config.num_hidden_layers) - 1
    with torch.device("meta"):
        return CLIPVisionModel(shorter).eval()


def is_wan_image_encoder(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of Wan's own file of CLIP."""
    return {f"{_WANS}cls_embedding", f"{_WANS}patch_embedding.weight"} <= weights.keys()


class _WanClip(Mapping[str, Tensor]):
    """The vision half of Wan's own file of CLIP, under transformers' names.

    Queries, keys and values are one matrix there; a part of it is a view of the file.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._places = dict(_wan_places(weights))

    def __getitem__(self, name: str) -> Tensor:
        theirs, part = self._places[name]
        tensor = self._weights[theirs]
        if part is not None:
            return tensor.chunk(3)[part]
        # of a batch of one: the token of the class, and the places
        if theirs == f"{_WANS}cls_embedding":
            return tensor.flatten()
        return tensor.flatten(0, 1) if theirs == f"{_WANS}pos_embedding" else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _wan_places(weights: Iterable[str]) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """Transformers' name, and where it is in Wan's file: the name there, and which third of it."""
    for name in weights:
        if not name.startswith(_WANS):
            continue
        plain = name.removeprefix(_WANS)
        block = _WAN_BLOCK.fullmatch(plain)
        if block is None:
            if plain != "head":
                yield _WAN_NAMES.get(plain, plain), (name, None)
            continue
        layer, part, leaf = block.groups()
        if part == "attn.to_qkv":
            for third, kind in enumerate("qkv"):
                yield f"encoder.layers.{layer}.self_attn.{kind}_proj.{leaf}", (name, third)
        else:
            yield f"encoder.layers.{layer}.{_WAN_PARTS.get(part, part)}.{leaf}", (name, None)


def _wan_config(weights: Mapping[str, Tensor]) -> CLIPVisionConfig:
    """The sizes of Wan's own file, whose heads are as wide as those of a ViT-H."""
    width, _, patch, _ = weights["embeddings.patch_embedding.weight"].shape
    squares = weights["embeddings.position_embedding.weight"].shape[0] - 1
    layers = {int(found[1]) for found in map(_LAYER.match, weights) if found is not None}
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(layers),
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        patch_size=patch,
        image_size=patch * isqrt(squares),
        hidden_act="gelu",
    )


def _config_of(weights: Path) -> CLIPVisionConfig:
    """Of a file: its own sizes if it is Wan's, else those of the `config.json` beside it."""
    if weights.suffix in (".pth", ".pt"):
        published = open_checkpoint(weights)
        if is_wan_image_encoder(published):
            return _wan_config(_WanClip(published))
    return _config(weights.parent / "config.json")


def _config(file: Path) -> CLIPVisionConfig:
    if not file.exists():
        raise FileNotFoundError(f"no {file}; the image encoder's configuration is needed")
    given = json.loads(file.read_bytes())
    if given.get("model_type") not in ("clip_vision_model", "clip"):
        raise BadCheckpoint(f"{file} is no configuration of CLIP's vision model")
    return CLIPVisionConfig(**given.get("vision_config", given))
