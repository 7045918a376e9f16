"""`python -m rollcast.benchmarks.kernels.decoder_operations`: what the decoder of a chunk asks of a
GPU, from latents to the bytes that are copied to the host, counted on `meta`. No time is measured
and no GPU is needed.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from ...kernels.gpu import Capability
from ...models.wan.decoder import WAN22_DECODER, WanDecoderConfig
from ...models.wan.presets.catalogue import preset_named
from ...models.wan.presets.preset import Preset
from ...models.wan.stream.decoders import decoded
from ...models.wan.stream.model import yuv_levels
from ...models.wan.tiny_decoder import TinyDecoderConfig
from ...models.wan.vae_files import VAE_DECODER, DecoderConfig
from ...models.wan.vae_layers import put_channels_last
from .chunk_operations import HOPPER
from .operation_count import OperationCount, counted

DECODERS: dict[str, tuple[str, DecoderConfig]] = {
    "Wan 2.1": ("self-forcing", WanDecoderConfig()),
    "Wan 2.2": ("longlive-2", WAN22_DECODER),
    "tiny, Wan 2.1": ("self-forcing", TinyDecoderConfig()),
    "tiny, Wan 2.2": ("longlive-2", TinyDecoderConfig(latent_channels=48, patch=2)),
}
"""A preset and the decoder of its latents, by name."""


def decoder_count(
    preset: Preset, config: DecoderConfig, capability: Capability = HOPPER
) -> tuple[OperationCount, int]:
    """The counts of a chunk behind a stream's first, in bfloat16, and the bytes for the host."""
    decoder = VAE_DECODER.empty(config).to(torch.bfloat16).requires_grad_(False)
    put_channels_last(decoder)
    latents = torch.empty(
        1, preset.recipe.chunk_frames, config.latent_channels, *preset.latent_size(preset.size),
        dtype=torch.bfloat16, device="meta",
    )  # fmt: skip
    memory: dict[str, Tensor] = {}
    with counted(capability):
        list(decoded(decoder, latents, memory, yuv_levels))
    with counted(capability) as count:
        made = list(decoded(decoder, latents, memory, yuv_levels))
    return count, sum(each.numel() for each in made)


def main() -> int:
    """A line for each decoder."""
    for name, (preset, config) in DECODERS.items():
        count, shown = decoder_count(preset_named(preset), config)
        moved = (count.bytes + count.launch_bytes) / 1e9
        sys.stdout.write(
            f"{name:14} {count.operations:4} operations, of them {count.launches.total():3} "
            f"launches of ours; {moved:.1f} GB beside convolutions and attention; "
            f"{shown / 1e6:.1f} MB to the host\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
