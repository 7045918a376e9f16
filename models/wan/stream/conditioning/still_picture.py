"""A picture file to the latents of a clip in which it stands still, by the encoder of a VAE."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ....picture import fitted_pixels
from ...vae_files import VAE_ENCODER, Encoder
from .conditioner import Parts


class StillPicture:
    """Pictures for a preset's streams, fitted to the size of its frames.

    On `meta` it has no weights. Raises BadCheckpoint for a VAE without an encoder.
    """

    def __init__(self, parts: Parts) -> None:
        self._size = parts.size
        self._frames = parts.preset.latents.frames
        self._encoder = vae_encoder(parts)

    def read(self, image: bytes, latents: int) -> Tensor:
        """So many latents [1, F, C, h, w] of an image file, on the CPU.

        The encoder is causal: the first are those of a shorter clip. Raises ValueError if it
        cannot be read.
        """
        levels = torch.tensor(fitted_pixels(image, *self._size))
        weight = next(self._encoder.parameters())
        frame = levels.permute(2, 0, 1)[None, None].to(weight.device).float() / 127.5 - 1
        return self._encode(frame.to(weight.dtype), latents).cpu()

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._encoder.parameters()

    def rehearse(self, latents: int) -> Tensor:
        """Encode a picture on `meta`, where it stays."""
        width, height = self._size
        weight = next(self._encoder.parameters())
        return self._encode(weight.new_zeros(1, 1, 3, height, width), latents)

    def _encode(self, frame: Tensor, latents: int) -> Tensor:
        """The latents of a clip that shows `frame` [1, 1, 3, H, W] alone."""
        memory: dict[str, Tensor] = {}
        made = [self._encoder.encode(frame, memory)]
        # a latent at a time: the memory that it takes does not depend on how many there are
        for _ in range(latents - 1):
            made.append(self._encoder.encode(frame.expand(-1, self._frames, -1, -1, -1), memory))
        return torch.cat(made, dim=1)


def vae_encoder(parts: Parts) -> Encoder:
    """The encoder of the preset's VAE, or another one in its place; on `meta` without weights."""
    latents = parts.preset.latents
    vae = None if parts.files is None else parts.files.vae
    file = vae if parts.encoder is None else parts.encoder
    if parts.device.type != "meta":
        assert file is not None, "weights have files"
        return VAE_ENCODER.load(file, latents, device=parts.device, dtype=parts.dtype)
    config = (
        VAE_ENCODER.published(latents) if file is None else VAE_ENCODER.config_in(file, latents)
    )
    return VAE_ENCODER.empty(config).to(parts.dtype)
