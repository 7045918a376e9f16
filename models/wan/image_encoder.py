"""What a Wan student attends to of a picture: CLIP's features (arXiv 2103.00020), by transformers.

Wan's image to video takes those of the layer before the last of a ViT-H, without the final norm.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from .checkpoint import open_checkpoint
from .names import Renamed
from .weight_files import BadCheckpoint
from .weights import WeightsDoNotFit, fill

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


class ImageEncoder:
    """CLIP's vision transformer without its last layer, which nobody reads."""

    def __init__(self, model: CLIPVisionModel) -> None:
        self._model = model
        self._side = int(model.config.image_size)

    @classmethod
    def load(cls, weights: Path, *, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
        """Of a file beside its `config.json`, as diffusers' folders have them.

        Raises FileNotFoundError, and BadCheckpoint for files of another model.
        """
        config = _config(weights.parent / "config.json")
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
            filled = fill(model, Renamed(open_checkpoint(weights), own), device=device, dtype=dtype)
        except WeightsDoNotFit as error:
            raise BadCheckpoint(f"{weights} is no image encoder of CLIP: {error.misfit}") from error
        for part in filled.modules():
            if hasattr(part, "position_ids"):
                part.position_ids = torch.arange(part.num_positions, device=device)[None]
        return cls(filled)

    @classmethod
    def empty(cls, weights: Path | None, *, dtype: torch.dtype) -> ImageEncoder:
        """That of a file, or the published one, on `meta`: its sizes, and no memory."""
        config = PUBLISHED if weights is None else _config(weights.parent / "config.json")
        return cls(_without_last_layer(config).to(dtype))

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


def _config(file: Path) -> CLIPVisionConfig:
    if not file.exists():
        raise FileNotFoundError(f"no {file}; the image encoder's configuration is needed")
    given = json.loads(file.read_bytes())
    if given.get("model_type") not in ("clip_vision_model", "clip"):
        raise BadCheckpoint(f"{file} is no configuration of CLIP's vision model")
    return CLIPVisionConfig(**given.get("vision_config", given))
