"""Tiny encoders as streams, against the published layers written out in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.wan.latent_scale import published_scale
from rollcast.models.wan.presets.latent_space import WAN21, WAN22
from rollcast.models.wan.tiny_decoder import TinyDecoder, TinyDecoderConfig
from rollcast.models.wan.tiny_encoder import (
    TinyEncoder,
    TinyEncoderConfig,
    is_tiny_encoder,
    tiny_encoder_config,
)
from rollcast.models.wan.vae_files import VAE_DECODER, VAE_ENCODER
from rollcast.models.wan.weight_files import BadCheckpoint

CONFIG = TinyEncoderConfig(width=6)
CONFIG_22 = TinyEncoderConfig(latent_channels=48, width=6, patch=2)
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


def tiny_encoder(config: TinyEncoderConfig) -> TinyEncoder:
    torch.manual_seed(0)
    encoder = TinyEncoder(config).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.normal_(0.0, parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2)
    return encoder


def plainly(weights: dict[str, Tensor], frames: Tensor, patch: int) -> Tensor:
    """Latents [T / 4, C, h, w] of a clip [T, 3, H, W] of 0 to 1, layer by layer as published.

    Every layer sees all frames at once; a block with memory sees each beside the one before it.
    """
    w = {name: tensor.double() for name, tensor in weights.items()}

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = w[f"{name}.weight"]
        edge = weight.shape[-1] // 2
        return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=edge, stride=stride)

    count, _, height, width = frames.shape
    squares = frames.double().reshape(count, 3, height // patch, patch, width // patch, patch)
    x = squares.permute(0, 1, 3, 5, 2, 4).reshape(count, -1, height // patch, width // patch)
    x = torch.relu(conv(x, "encoder.0"))
    place = 2
    for pools in (2, 2, 1):
        x = torch.stack([x[k::pools] for k in range(pools)], dim=1).flatten(1, 2)
        x = conv(conv(x, f"encoder.{place}.conv"), f"encoder.{place + 1}", stride=2)
        place += 2
        for _ in range(3):
            past = torch.cat((torch.zeros_like(x[:1]), x[:-1]))
            y = torch.relu(conv(torch.cat((x, past), dim=1), f"encoder.{place}.conv.0"))
            y = torch.relu(conv(y, f"encoder.{place}.conv.2"))
            x = torch.relu(conv(y, f"encoder.{place}.conv.4") + x)
            place += 1
    return conv(x, "encoder.17")


@pytest.mark.parametrize("config", [CONFIG, CONFIG_22], ids=["2.1", "2.2"])
@pytest.mark.parametrize("pieces", [(1,) + (4,) * 4, (5, 8, 4), (17,)])
def test_latents_are_those_of_the_published_layers(
    config: TinyEncoderConfig, pieces: tuple[int, ...]
) -> None:
    """Of a clip whose first frame is there three times more. Float32 against float64."""
    encoder = tiny_encoder(config)
    video = torch.rand(2, 17, 3, 2 * config.pixels, 3 * config.pixels)
    clips = torch.cat((video[:, :1].expand(-1, 3, -1, -1, -1), video), dim=1)
    wanted = torch.stack([plainly(encoder.state_dict(), clip, config.patch) for clip in clips])
    memory: dict[str, Tensor] = {}
    seen = (2 * video - 1).split(pieces, dim=1)
    made = torch.cat([encoder.encode(part, memory) for part in seen], dim=1)
    assert made.shape == (2, 5, config.latent_channels, 2, 3) and wanted.std() > 0.1
    torch.testing.assert_close(made.double(), wanted, atol=1e-5, rtol=1e-5)
    raw = encoder(2 * video - 1, {})
    torch.testing.assert_close(raw, published_scale(made), atol=1e-4, rtol=1e-5)


def test_memory_does_not_grow() -> None:
    encoder, memory = tiny_encoder(CONFIG), {}
    encoder.encode(torch.rand(1, 1, 3, 16, 24), memory)
    sizes = {name: tensor.shape for name, tensor in memory.items()}
    held = sum(tensor.untyped_storage().nbytes() for tensor in memory.values())
    for _ in range(4):
        encoder.encode(torch.rand(1, 8, 3, 16, 24), memory)
    assert len(sizes) == 9 and {name: tensor.shape for name, tensor in memory.items()} == sizes
    assert sum(tensor.untyped_storage().nbytes() for tensor in memory.values()) == held


def test_frames_that_make_no_latent_are_named() -> None:
    encoder, memory = tiny_encoder(CONFIG), {}
    with pytest.raises(ValueError, match="3 frames; expected 1 and a multiple of 4"):
        encoder.encode(torch.rand(1, 3, 3, 16, 16), memory)
    with pytest.raises(ValueError, match="frames of 20x16; 8 has to divide both sides"):
        encoder.encode(torch.rand(1, 1, 3, 16, 20), memory)


@pytest.mark.parametrize("config", [CONFIG, CONFIG_22], ids=["2.1", "2.2"])
def test_a_published_file_holds_both_halves(config: TinyEncoderConfig, tmp_path: Path) -> None:
    encoder = tiny_encoder(config)
    small = TinyDecoderConfig(config.latent_channels, widths=(12, 8, 6, 5), patch=config.patch)
    weights = encoder.state_dict() | TinyDecoder(small).state_dict()
    assert is_tiny_encoder(weights) and tiny_encoder_config(weights) == config
    file = tmp_path / "taew.pth"
    torch.save(weights, file)
    right, wrong = (WAN21, WAN22) if config is CONFIG else (WAN22, WAN21)
    video = torch.rand(1, 5, 3, 32, 32)
    assert torch.equal(
        VAE_ENCODER.load(file, right, **CPU).encode(video, {}), encoder.encode(video, {})
    )
    assert isinstance(VAE_DECODER.load(file, right, **CPU), TinyDecoder)
    with pytest.raises(BadCheckpoint, match=f"encodes to latents .* those of {wrong.vae} have"):
        VAE_ENCODER.config_in(file, wrong)
    del weights["encoder.5.conv.2.bias"]
    torch.save(weights, file)
    with pytest.raises(BadCheckpoint, match=r"1 missing: encoder\.5\.conv\.2\.bias"):
        VAE_ENCODER.load(file, right, **CPU)


def test_at_full_size_every_shape_is_the_published_one() -> None:
    """Of both halves, as github.com/madebyollin/taehv lays them out."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in TinyEncoder().state_dict().items()}
    assert shapes["encoder.2.conv.weight"] == shapes["encoder.7.conv.weight"] == (64, 128, 1, 1)
    assert shapes["encoder.12.conv.weight"] == (64, 64, 1, 1)
    assert shapes["encoder.3.weight"] == (64, 64, 3, 3) and "encoder.3.bias" not in shapes
    assert shapes["encoder.16.conv.0.weight"] == (64, 128, 3, 3)
    assert shapes["encoder.17.weight"] == (16, 64, 3, 3)
