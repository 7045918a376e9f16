"""The decoder of streams makes the pixels of the one that is trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.pocket.autoencoder import (
    LATENT_CHANNELS,
    LATENT_SIZE,
    PICTURE_SIZE,
    Pictures,
    ReferenceFeatures,
    WarpDecoder,
)
from rollcast.models.pocket.frame_decoder import FrameDecoder

SCALE = torch.tensor([6.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def decoder() -> WarpDecoder:
    torch.manual_seed(0)
    decoder = WarpDecoder().double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            # what starts at zero would hide flows, edges and colours
            parameter.add_(0.05 * torch.randn_like(parameter))
    return decoder


def _features(decoder: WarpDecoder, *, flat: bool, pans: bool) -> ReferenceFeatures:
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(3, 1, 3, 24, 24, generator=generator, dtype=torch.float64) * 2 - 1
    shown = [F.interpolate(each, PICTURE_SIZE, mode="bilinear") for each in small]
    if pans:
        shown[1] = shown[2]
    pictures = Pictures(*shown, flat=torch.tensor([flat]), pans=torch.tensor([pans]))
    with torch.no_grad():
        return decoder.encode_reference(pictures)


def _latents(count: int) -> Tensor:
    shape = (count, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def _plain(decoder: WarpDecoder, latents: Tensor, features: ReferenceFeatures) -> Tensor:
    count = len(latents)
    with torch.no_grad():
        frames = decoder(latents, features.expand(count), SCALE.expand(count)).frames
    return frames.add(1).mul(127.5).permute(0, 2, 3, 1)


@pytest.mark.parametrize("kind", ["plate", "flat", "pans"])
def test_it_makes_the_same_pixels_as_the_trained_one(decoder: WarpDecoder, kind: str) -> None:
    features = _features(decoder, flat=kind == "flat", pans=kind == "pans")
    latents = _latents(2)
    made = FrameDecoder(decoder, torch.float64)(latents, features, SCALE).double()
    wanted = _plain(decoder, latents, features)
    assert wanted.std() > 20, "there is something to see"
    # half a level is the rounding itself; beyond it float64 has nothing to lose
    assert (made - wanted.clamp(0, 255)).abs().max() <= 0.5 + 1e-6


# bfloat16 keeps 8 bits of each feature; with these random weights, whose features are larger than
# trained ones, that is 2 levels on average. float32 only rounds otherwise where a level is halfway.
@pytest.mark.parametrize(("dtype", "mean"), [(torch.float32, 0.001), (torch.bfloat16, 3.0)])
def test_coarser_types_are_near_it(decoder: WarpDecoder, dtype: torch.dtype, mean: float) -> None:
    features = _features(decoder, flat=False, pans=False)
    single = ReferenceFeatures(*(t.float() if t.is_floating_point() else t for t in features))
    latents = _latents(1)
    wanted = FrameDecoder(decoder, torch.float64)(latents, features, SCALE)
    made = FrameDecoder(decoder, dtype)(latents.float(), single, SCALE.float())
    assert made.dtype == torch.uint8 and made.is_contiguous()
    assert (made.double() - wanted.double()).abs().mean() < mean


def test_frames_do_not_depend_on_how_many_are_made_at_once(decoder: WarpDecoder) -> None:
    features = _features(decoder, flat=False, pans=False)
    latents = _latents(3)
    of_streams = FrameDecoder(decoder, torch.float64)
    whole = of_streams(latents, features, SCALE)
    alone = of_streams(latents[1:2], features, SCALE)
    assert torch.equal(whole[1:2], alone)
