"""What the pocket model can show: pictures of its looks and what the networks see of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..stream import ModelInfo, Scene
from .audio import CHUNK_FRAMES, LOOKAHEAD_MS, SAMPLE_RATE
from .autoencoder import FRAME_SIZE, Pictures, ReferenceFeatures, WarpDecoder
from .conditions import reference_base, reference_channels
from .manifest import LookEntry, Manifest

NAME = "pocket"
FPS = 25
_THUMBNAIL_QUALITY = 85


@dataclass(frozen=True, slots=True)
class LookPictures:
    """A look's reference picture, the one with open mouth, and its plate, RGB."""

    reference: Image.Image
    opened: Image.Image
    plate: Image.Image

    @classmethod
    def read(cls, folder: Path, entry: LookEntry) -> LookPictures:
        """The pictures of a manifest entry."""
        names = (entry.reference, entry.opened, entry.plate)
        return cls(*(Image.open(folder / name).convert("RGB") for name in names))


@dataclass(frozen=True, slots=True)
class Look:
    """A manifest entry with what the networks see of its picture."""

    entry: LookEntry
    features: ReferenceFeatures
    scale: Tensor
    base: Tensor
    channels: Tensor


def see_look(
    decoder: WarpDecoder, entry: LookEntry, pictures: LookPictures, latent: Tensor
) -> Look:
    """Prepare a look; `latent` [1, 28, 8, 8] is its picture's own normalised latent."""
    shown = (pictures.reference, pictures.opened, pictures.plate)
    known = Pictures(*(_signed(picture) for picture in shown), flat=torch.tensor([False]))
    features = decoder.encode_reference(known)
    scale = torch.tensor([entry.scale])
    return Look(
        entry, features, scale, reference_base(latent), reference_channels(features, latent)
    )


def describe(manifest: Manifest, pictures: Mapping[str, LookPictures]) -> ModelInfo:
    """What clients are told of the model."""
    scenes = tuple(
        Scene(e.name, e.title, e.kind, _thumbnail(pictures[e.name].reference))
        for e in manifest.looks
    )
    return ModelInfo(
        name=NAME,
        title=manifest.title,
        width=FRAME_SIZE,
        height=FRAME_SIZE,
        fps=FPS,
        chunk_frames=CHUNK_FRAMES,
        sample_rate=SAMPLE_RATE,
        lookahead_ms=LOOKAHEAD_MS,
        scenes=scenes,
        prompts=manifest.presets,
        controls=frozenset({"prompt", "audio", "tracks", "scene", "seed"}),
    )


def _signed(picture: Image.Image) -> Tensor:
    """A picture as -1..1 [1, 3, H, W]."""
    pixels = np.asarray(picture, np.float32) / 127.5 - 1
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _thumbnail(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    small = picture.resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.LANCZOS)
    small.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()
