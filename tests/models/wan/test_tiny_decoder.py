"""Tiny decoders as streams, against the published layers written out in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.wan.presets.latent_space import WAN21, WAN22
from rollcast.models.wan.tiny_decoder import (
    TinyDecoder,
    TinyDecoderConfig,
    is_tiny_decoder,
    tiny_decoder_config,
)
from rollcast.models.wan.vae_files import VAE_DECODER
from rollcast.models.wan.weight_files import BadCheckpoint

CONFIG = TinyDecoderConfig(widths=(12, 8, 6, 5))
CONFIG_22 = TinyDecoderConfig(latent_channels=48, widths=(12, 8, 6, 5), patch=2)
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


def tiny_decoder(config: TinyDecoderConfig) -> TinyDecoder:
    torch.manual_seed(0)
    decoder = TinyDecoder(config).eval().requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.normal_(0.0, parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2)
    return decoder


def plainly(weights: dict[str, Tensor], latents: Tensor, patch: int) -> Tensor:
    """Frames [T, 3, H, W] of one stream's latents [F, C, h, w], layer by layer as published.

    Every layer sees all frames at once; a block with memory sees each beside the one before it.
    """
    w = {name: tensor.double() for name, tensor in weights.items()}

    def conv(x: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    x = torch.relu(conv(3 * torch.tanh(latents.double() / 3), "decoder.1"))
    place = 3
    for grows in (1, 2, 2):
        for _ in range(3):
            past = torch.cat((torch.zeros_like(x[:1]), x[:-1]))
            y = torch.relu(conv(torch.cat((x, past), dim=1), f"decoder.{place}.conv.0"))
            y = torch.relu(conv(y, f"decoder.{place}.conv.2"))
            x = torch.relu(conv(y, f"decoder.{place}.conv.4") + x)
            place += 1
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        channels = x.shape[1]
        x = conv(x, f"decoder.{place + 1}.conv")
        x = torch.stack([x[:, k * channels : (k + 1) * channels] for k in range(grows)], dim=1)
        x = conv(x.flatten(0, 1), f"decoder.{place + 2}")
        place += 3
    x = conv(torch.relu(x), "decoder.22")
    frames, _, height, width = x.shape
    squares = x.reshape(frames, 3, patch, patch, height, width).permute(0, 1, 4, 2, 5, 3)
    return squares.reshape(frames, 3, height * patch, width * patch)[3:]


@pytest.mark.parametrize("config", [CONFIG, CONFIG_22], ids=["2.1", "2.2"])
@pytest.mark.parametrize("pieces", [(1,) * 5, (3, 2), (1, 3, 1), (5,)])
def test_frames_are_those_of_the_published_layers(
    config: TinyDecoderConfig, pieces: tuple[int, ...]
) -> None:
    """Float32 against float64, some twenty layers deep."""
    decoder = tiny_decoder(config)
    latents = 2 * torch.randn(2, 5, config.latent_channels, 3, 4)
    wanted = torch.stack([plainly(decoder.state_dict(), one, config.patch) for one in latents])
    memory: dict[str, Tensor] = {}
    made = torch.cat([decoder(part, memory) for part in latents.split(pieces, dim=1)], dim=1)
    assert made.shape == (2, 17, 3, 3 * config.pixels, 4 * config.pixels) and wanted.std() > 0.1
    torch.testing.assert_close(made.double(), wanted, atol=1e-5, rtol=1e-5)
    shown = decoder.decode(latents, {})
    torch.testing.assert_close(shown.double(), 2 * wanted - 1, atol=2e-5, rtol=1e-5)


def test_memory_does_not_grow() -> None:
    decoder, memory = tiny_decoder(CONFIG), {}
    decoder(torch.randn(1, 1, 16, 2, 3), memory)
    sizes = {name: tensor.shape for name, tensor in memory.items()}
    held = sum(tensor.untyped_storage().nbytes() for tensor in memory.values())
    for _ in range(4):
        decoder(torch.randn(1, 3, 16, 2, 3), memory)
    assert len(sizes) == 9 and {name: tensor.shape for name, tensor in memory.items()} == sizes
    assert sum(tensor.untyped_storage().nbytes() for tensor in memory.values()) == held


@pytest.mark.parametrize("config", [CONFIG, CONFIG_22], ids=["2.1", "2.2"])
def test_a_published_file_loads(config: TinyDecoderConfig, tmp_path: Path) -> None:
    """As they are published: an encoder is in it too."""
    decoder = tiny_decoder(config)
    weights = dict(decoder.state_dict()) | {"encoder.0.weight": torch.zeros(64, 3, 3, 3)}
    assert is_tiny_decoder(weights) and tiny_decoder_config(weights) == config
    file = tmp_path / "taew.pth"
    torch.save(weights, file)
    right, wrong = (WAN21, WAN22) if config is CONFIG else (WAN22, WAN21)
    loaded = VAE_DECODER.load(file, right, **CPU)
    latents = torch.randn(1, 2, config.latent_channels, 2, 2)
    assert torch.equal(loaded(latents, {}), decoder(latents, {}))
    with pytest.raises(BadCheckpoint, match=f"those of {wrong.vae} have {wrong.channels}, "):
        VAE_DECODER.load(file, wrong, **CPU)


def test_at_full_size_it_has_as_many_values_as_published() -> None:
    """9.84 million for Wan 2.1, as MotionStream says of it (arXiv 2511.01266)."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in TinyDecoder().state_dict().items()}
    assert sum(shape.numel() for shape in shapes.values()) == 9_844_611
    assert shapes["decoder.3.conv.0.weight"] == (256, 512, 3, 3)
    assert shapes["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert shapes["decoder.20.weight"] == (64, 64, 3, 3)
    assert shapes["decoder.22.weight"] == (3, 64, 3, 3)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"decoder.conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(BadCheckpoint, match=r"other\.pth holds no decoder of Wan"):
        VAE_DECODER.load(file, WAN21, **CPU)
    weights = dict(tiny_decoder(CONFIG).state_dict())
    del weights["decoder.9.conv.2.bias"]
    torch.save(weights, file)
    with pytest.raises(BadCheckpoint, match=r"1 missing: decoder\.9\.conv\.2\.bias"):
        VAE_DECODER.load(file, WAN21, **CPU)
