"""Wan's encoders as streams: diffusers' latents, whole and in pieces, from memory that is fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.wan.encoder import WanEncoder, WanEncoderConfig
from rollcast.models.wan.latent_scale import students_scale
from rollcast.models.wan.presets.latent_space import WAN21 as LATENTS_21
from rollcast.models.wan.presets.latent_space import WAN22 as LATENTS_22
from rollcast.models.wan.vae_files import VAE_ENCODER

from .tiny_vaes import WAN21, WAN22, tiny_vae

CONFIG = WanEncoderConfig(dim=2, latent_channels=4, multipliers=(1, 2, 2), residual_blocks=1,
                          halves_time=(True, True))  # fmt: skip


@pytest.fixture
def encoder() -> WanEncoder:
    torch.manual_seed(0)
    encoder = WanEncoder(CONFIG).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return encoder.requires_grad_(False)


def frames(count: int, side: int = 8) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(1, count, 3, side, 2 * side) * 2 - 1


@pytest.mark.parametrize("config", [WAN21, WAN22], ids=["2.1", "2.2"])
@pytest.mark.parametrize("pieces", [(1,) + (4,) * 4, (5, 8, 4), (17,)])
def test_latents_are_those_of_diffusers(
    config: dict[str, Any], pieces: tuple[int, ...], tmp_path: Path
) -> None:
    """Float32 on both sides: they add in different orders, some 1e-6 apart."""
    vae = tiny_vae(config)
    vae.save_pretrained(tmp_path)
    latents = LATENTS_21 if config is WAN21 else LATENTS_22
    encoder = VAE_ENCODER.load(tmp_path, latents, device=torch.device("cpu"), dtype=torch.float32)
    video = frames(17, 32)
    (distribution,) = vae.encode(video.transpose(1, 2), return_dict=False)
    wanted = distribution.mode().transpose(1, 2)
    memory: dict[str, Tensor] = {}
    made = torch.cat([encoder(part, memory) for part in video.split(pieces, dim=1)], dim=1)
    assert made.shape == wanted.shape and wanted.std() > 0.1
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode(video, {}), students_scale(wanted), atol=1e-5, rtol=0)


def test_the_future_changes_nothing_and_the_past_does(encoder: WanEncoder) -> None:
    one, two = frames(9), frames(9)
    two[:, 5] += 1
    first, second = encoder(one, {}), encoder(two, {})
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2:], second[:, 2:], atol=1e-3)
    two = frames(9)
    two[:, 3] += 1
    assert not torch.allclose(encoder(two, {})[:, 2:], first[:, 2:], atol=1e-3)


def test_memory_does_not_grow(encoder: WanEncoder) -> None:
    memory: dict[str, Tensor] = {}
    encoder(frames(5), memory)
    sizes = {name: tensor.shape for name, tensor in memory.items()}
    held = sum(tensor.untyped_storage().nbytes() for tensor in memory.values())
    for _ in range(5):
        encoder(frames(8), memory)
    assert {name: tensor.shape for name, tensor in memory.items()} == sizes
    assert sum(tensor.untyped_storage().nbytes() for tensor in memory.values()) == held


def test_streams_are_apart_and_go_on_from_a_copy(encoder: WanEncoder) -> None:
    whole = encoder(frames(13), {})
    memory: dict[str, Tensor] = {}
    encoder(frames(13)[:, :5], memory)
    copy = {name: tensor.clone() for name, tensor in memory.items()}
    encoder(torch.randn(1, 8, 3, 8, 16), memory)
    torch.testing.assert_close(encoder(frames(13)[:, 5:], copy), whole[:, 2:], atol=1e-5, rtol=1e-5)


def test_what_does_not_divide_is_named(encoder: WanEncoder) -> None:
    with pytest.raises(ValueError, match="3 frames; expected 1 and a multiple of 4"):
        encoder(frames(3), {})
    memory: dict[str, Tensor] = {}
    encoder(frames(1), memory)
    with pytest.raises(ValueError, match="5 frames; expected a multiple of 4"):
        encoder(frames(5), memory)
    with pytest.raises(ValueError, match="frames of 18x9; 4 has to divide"):
        encoder(frames(1, 9), {})
    with pytest.raises(ValueError, match="one less"):
        WanEncoderConfig(halves_time=(True,))


def test_a_whole_vae_loads(encoder: WanEncoder) -> None:
    published = {"decoder.conv1.weight": torch.zeros(1), "conv2.bias": torch.zeros(2)}
    other = WanEncoder(CONFIG)
    other.load_published(encoder.state_dict() | published)
    assert torch.equal(other(frames(5), {}), encoder(frames(5), {}))
    with pytest.raises(ValueError, match="missing"):
        other.load_published(published)
