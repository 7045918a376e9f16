"""A VAE from its file: names of Wan and of diffusers, whichever of the two it is, at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from safetensors.torch import save_file
from torch import Tensor, nn

from rollcast.models.wan.decoder import WAN22_DECODER, WanDecoder, WanDecoderConfig
from rollcast.models.wan.encoder import WAN22_ENCODER, WanEncoder, WanEncoderConfig
from rollcast.models.wan.presets.latent_space import WAN21 as WAN21_LATENTS
from rollcast.models.wan.presets.latent_space import WAN22 as WAN22_LATENTS
from rollcast.models.wan.vae_files import VAE_DECODER, VAE_ENCODER
from rollcast.models.wan.vae_names import VaeLayout
from rollcast.models.wan.weight_files import BadCheckpoint

from .tiny_vaes import WAN21, WAN22, tiny_vae

LATENTS = {16: WAN21_LATENTS, 48: WAN22_LATENTS}
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
FULL = {
    "2.1": ({}, WanDecoderConfig(), WanEncoderConfig(), 126_892_531),
    "2.2": (
        WAN22 | {"base_dim": 160, "decoder_base_dim": 256},
        WAN22_DECODER,
        WAN22_ENCODER,
        704_688_668,
    ),
}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("config", [WAN21, WAN22], ids=["2.1", "2.2"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_wans_own_file_is_as_diffusers_folder(
    config: dict[str, Any], suffix: str, tmp_path: Path
) -> None:
    """Both halves out of a folder, written together by Wan's names, and read again."""
    folder, file = tmp_path / "vae", tmp_path / f"Wan_VAE.{suffix}"
    tiny_vae(config).save_pretrained(folder)
    latents = LATENTS[config.get("z_dim", 16)]
    halves = state(VAE_DECODER.load(folder, latents, **CPU)) | state(
        VAE_ENCODER.load(folder, latents, **CPU)
    )
    (torch.save if suffix == "pth" else save_file)(halves, file)
    again = state(VAE_DECODER.load(file, latents, **CPU)) | state(
        VAE_ENCODER.load(file, latents, **CPU)
    )
    assert again.keys() == halves.keys()
    assert all(torch.equal(tensor, halves[name]) for name, tensor in again.items())
    assert VAE_DECODER.config_in(file, latents) == VAE_DECODER.config_in(folder, latents)
    assert VAE_ENCODER.config_in(file, latents) == VAE_ENCODER.config_in(folder, latents)


@pytest.mark.parametrize("which", FULL)
def test_at_full_size_every_name_and_shape_is_the_published_one(which: str) -> None:
    theirs, decodes, encodes, values = FULL[which]
    with torch.device("meta"):
        published = AutoencoderKLWan(**theirs).state_dict()
        ours = WanDecoder(decodes).state_dict() | WanEncoder(encodes).state_dict()
    layout = VaeLayout.of(published)
    named = {layout.name(name): tensor.shape for name, tensor in published.items()}
    assert named == {name: tensor.shape for name, tensor in ours.items()}
    assert sum(tensor.numel() for tensor in ours.values()) == values
    latents = LATENTS[decodes.latent_channels]
    assert VAE_DECODER.config(ours, Path("published"), latents) == decodes
    assert VAE_ENCODER.config(ours, Path("published"), latents) == encodes
    assert VAE_DECODER.published(latents) == decodes and VAE_ENCODER.published(latents) == encodes


@pytest.mark.parametrize(
    ("theirs", "wans"),
    [
        ("decoder.up_blocks.1.resnets.2.conv1.bias", "decoder.upsamples.6.residual.2.bias"),
        ("decoder.up_blocks.1.upsamplers.0.time_conv.bias", "decoder.upsamples.7.time_conv.bias"),
        ("encoder.down_blocks.3.norm2.gamma", "encoder.downsamples.3.residual.3.gamma"),
        ("encoder.mid_block.attentions.0.to_qkv.bias", "encoder.middle.1.to_qkv.bias"),
        ("encoder.mid_block.resnets.1.conv2.bias", "encoder.middle.2.residual.6.bias"),
        ("quant_conv.weight", "conv1.weight"),
        ("post_quant_conv.weight", "conv2.weight"),
        ("discriminator.weight", None),
    ],
)
def test_names_of_the_first(theirs: str, wans: str | None) -> None:
    assert VaeLayout().name(theirs) == wans


@pytest.mark.parametrize(
    ("theirs", "wans"),
    [
        (
            "decoder.up_blocks.1.resnets.2.conv1.bias",
            "decoder.upsamples.1.upsamples.2.residual.2.bias",
        ),
        (
            "decoder.up_blocks.1.upsampler.resample.1.bias",
            "decoder.upsamples.1.upsamples.3.resample.1.bias",
        ),
        (
            "encoder.down_blocks.2.downsampler.time_conv.bias",
            "encoder.downsamples.2.downsamples.2.time_conv.bias",
        ),
        (
            "encoder.down_blocks.3.resnets.0.conv_shortcut.bias",
            "encoder.downsamples.3.downsamples.0.shortcut.bias",
        ),
    ],
)
def test_names_of_the_second(theirs: str, wans: str) -> None:
    assert VaeLayout(nested=True).name(theirs) == wans


def test_a_file_without_a_half_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    save_file(state(WanDecoder(WanDecoderConfig(dim=2, residual_blocks=0))), file)
    with pytest.raises(BadCheckpoint, match=r"half.safetensors holds no encoder of Wan"):
        VAE_ENCODER.load(file, WAN21_LATENTS, **CPU)
    save_file({"encoder.conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(BadCheckpoint, match=r"half.safetensors holds no decoder of Wan"):
        VAE_DECODER.load(file, WAN21_LATENTS, **CPU)


def test_a_decoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    tiny_vae(WAN22).save_pretrained(tmp_path)
    with pytest.raises(BadCheckpoint, match=r"of 48 channels, 16 .*Wan 2\.1 have 16, 8 and 4"):
        VAE_DECODER.load(tmp_path, WAN21_LATENTS, **CPU)
