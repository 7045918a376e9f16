"""Wan's decoders as streams: any pieces give the frames of one call, from memory that is fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.kernels.dispatch import use_backend
from rollcast.kernels.gpu import meta_stands_for
from rollcast.kernels.launch import Launch, watch_launches
from rollcast.kernels.norm_silu.norm_silu import norm_silu_kernel
from rollcast.kernels.norm_silu.sum_norm_silu import sum_norm_silu_kernel
from rollcast.models.wan.decoder import WAN22_DECODER, WanDecoder, WanDecoderConfig
from rollcast.models.wan.latent_scale import students_scale
from rollcast.models.wan.presets.latent_space import WAN21 as WAN21_LATENTS
from rollcast.models.wan.presets.latent_space import WAN22 as WAN22_LATENTS
from rollcast.models.wan.tiny_decoder import TinyDecoderConfig
from rollcast.models.wan.vae_files import VAE_DECODER, DecoderConfig
from rollcast.models.wan.vae_layers import Norm, put_channels_last

from .tiny_vaes import WAN21, WAN22, tiny_vae

LATENTS = {16: WAN21_LATENTS, 48: WAN22_LATENTS}
CONFIG = WanDecoderConfig(dim=2, latent_channels=4, residual_blocks=0)


@pytest.fixture
def decoder() -> WanDecoder:
    torch.manual_seed(0)
    decoder = WanDecoder(CONFIG).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return decoder.requires_grad_(False)


def latents(frames: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, frames, 4, 2, 3)


@pytest.mark.parametrize("pieces", [(1, 3, 3), (1,) * 7, (3, 3, 1), (2, 5), (7,)])
def test_pieces_are_the_whole(decoder: WanDecoder, pieces: tuple[int, ...]) -> None:
    whole = decoder(latents(7), {})
    assert whole.shape == (1, 25, 3, 16, 24)
    memory: dict[str, Tensor] = {}
    made = [decoder(part, memory) for part in latents(7).split(pieces, dim=1)]
    assert [part.shape[1] for part in made] == [4 * pieces[0] - 3, *(4 * n for n in pieces[1:])]
    torch.testing.assert_close(torch.cat(made, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_the_future_changes_nothing_and_the_past_does(decoder: WanDecoder) -> None:
    one, two = latents(4), latents(4)
    two[:, 3] += 1
    first, second = decoder(one, {}), decoder(two, {})
    assert torch.equal(first[:, :9], second[:, :9])
    assert not torch.allclose(first[:, 9:], second[:, 9:], atol=1e-3)
    two = latents(4)
    two[:, 2] += 1
    assert not torch.allclose(decoder(two, {})[:, 9:], first[:, 9:], atol=1e-3)


def test_memory_does_not_grow(decoder: WanDecoder) -> None:
    memory: dict[str, Tensor] = {}
    decoder(latents(2), memory)
    sizes = {name: tensor.shape for name, tensor in memory.items()}
    held = sum(tensor.untyped_storage().nbytes() for tensor in memory.values())
    for _ in range(5):
        decoder(latents(3), memory)
    assert {name: tensor.shape for name, tensor in memory.items()} == sizes
    assert sum(tensor.untyped_storage().nbytes() for tensor in memory.values()) == held


def test_streams_are_apart_and_go_on_from_a_copy(decoder: WanDecoder) -> None:
    whole = decoder(latents(6), {})
    memory: dict[str, Tensor] = {}
    decoder(latents(6)[:, :3], memory)
    copy = {name: tensor.clone() for name, tensor in memory.items()}
    decoder(torch.randn(1, 3, 4, 2, 3), memory)
    torch.testing.assert_close(decoder(latents(6)[:, 3:], copy), whole[:, 9:], atol=1e-5, rtol=1e-5)


def test_a_whole_vae_loads(decoder: WanDecoder) -> None:
    published = {"encoder.conv1.weight": torch.zeros(1), "conv1.bias": torch.zeros(2)}
    other = WanDecoder(CONFIG)
    other.load_published(decoder.state_dict() | published)
    assert torch.equal(other(latents(2), {}), decoder(latents(2), {}))
    with pytest.raises(ValueError, match="missing"):
        other.load_published(published)
    with pytest.raises(ValueError, match="one less"):
        WanDecoderConfig(doubles_time=(True,))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        # that of 2.2 has all its parts
        pytest.param(WanDecoderConfig(dim=4), id="2.1", marks=pytest.mark.long),
        pytest.param(
            WanDecoderConfig(dim=8, latent_channels=48, shortcuts=True, patch=2), id="2.2"
        ),
        pytest.param(TinyDecoderConfig(widths=(32, 16, 8, 8)), id="tiny"),
    ],
)
def test_as_a_gpu_has_it_frames_are_the_same(config: DecoderConfig) -> None:
    """Channels last, and the norm with its SiLU by our kernel; both add in other orders."""
    torch.manual_seed(0)
    decoder = VAE_DECODER.empty(config).to_empty(device="cpu").requires_grad_(False)
    for parameter in decoder.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        torch.nn.init.normal_(parameter, 1.0 if fan == 1 else 0.0, 0.1 if fan == 1 else fan**-0.5)
    given = torch.randn(1, 5, config.latent_channels, 2, 3)
    wanted = decoder.decode(given, {})
    put_channels_last(decoder)
    memory: dict[str, Tensor] = {}
    with use_backend("triton"):
        made = [decoder.decode(part, memory) for part in given.split((1, 3, 1), dim=1)]
    assert wanted.std() > 0.01
    torch.testing.assert_close(torch.cat(made, dim=1), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [WanDecoderConfig(), WAN22_DECODER], ids=["2.1", "2.2"])
def test_on_a_gpu_every_norm_reads_channels_in_a_row(config: WanDecoderConfig) -> None:
    decoder = VAE_DECODER.empty(config).to(torch.bfloat16).requires_grad_(False)
    put_channels_last(decoder)
    given = torch.empty(1, 3, config.latent_channels, 4, 6, dtype=torch.bfloat16, device="meta")
    seen: list[Launch] = []
    with meta_stands_for((9, 0)), watch_launches(seen.append), torch.no_grad():
        decoder(given, {})
    kernels = norm_silu_kernel, sum_norm_silu_kernel
    norms = [launch for launch in seen if launch.kernel in kernels]
    assert len(norms) == sum(isinstance(each, Norm) for each in decoder.modules()) - 1
    assert all(each.arguments["x_c"] == each.arguments["out_c"] == 1 for each in norms)


@pytest.mark.parametrize("config", [WAN21, WAN22], ids=["2.1", "2.2"])
@pytest.mark.parametrize("pieces", [(1,) * 5, (1, 3, 1), (5,)])
def test_frames_are_those_of_diffusers(
    config: dict[str, Any], pieces: tuple[int, ...], tmp_path: Path
) -> None:
    """Float32 on both sides: they add in different orders, some 1e-6 apart."""
    vae = tiny_vae(config)
    vae.save_pretrained(tmp_path)
    channels = config.get("z_dim", 16)
    latents = LATENTS[channels]
    decoder = VAE_DECODER.load(tmp_path, latents, device=torch.device("cpu"), dtype=torch.float32)
    given = torch.randn(1, 5, channels, 3, 4)
    wanted = vae.decode(given.transpose(1, 2), return_dict=False)[0].transpose(1, 2)
    memory: dict[str, Tensor] = {}
    made = torch.cat([decoder(part, memory) for part in given.split(pieces, dim=1)], dim=1)
    assert made.shape == wanted.shape and wanted.std() > 0.1
    # theirs are cut off where a picture ends
    torch.testing.assert_close(made.clamp(-1, 1), wanted, atol=1e-5, rtol=0)
    whole = decoder.decode(students_scale(given), {})
    torch.testing.assert_close(whole.clamp(-1, 1), wanted, atol=2e-5, rtol=0)
