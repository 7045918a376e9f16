"""The latents of all clips, encoded once for an autoencoder and kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .autoencoder import Autoencoder
from .clips import Clips
from .sequences import References, encode_clips


def kept_latents(
    file: Path, model: Autoencoder, splits: Mapping[str, Clips], references: References
) -> dict[str, tuple[Tensor, Tensor]]:
    """By split: raw latents [N, T, 28, 8, 8] of clips as they are, and of looks without a plate.

    `file` is read if it was made with these weights and clips, and written otherwise.
    """
    wanted = _digest(model, splits)
    if file.exists():
        saved = torch.load(file, weights_only=True, mmap=True)
        if saved["digest"] == wanted:
            return {name: tuple(pair) for name, pair in saved["latents"].items()}
    latents = {
        name: (
            encode_clips(model, clips, references),
            encode_clips(model, clips, references, flat=True),
        )
        for name, clips in splits.items()
    }
    part = file.with_suffix(".part")
    torch.save({"digest": wanted, "latents": latents}, part)
    part.replace(file)
    return latents


def _digest(model: Autoencoder, splits: Mapping[str, Clips]) -> str:
    """Of the weights, and of one frame in 25 of every clip."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    for clips in splits.values():
        digest.update(clips.look.numpy().tobytes())
        digest.update(clips.frames[:, ::25, ::8, ::8].contiguous().numpy().tobytes())
    return digest.hexdigest()
