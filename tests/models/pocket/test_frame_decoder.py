"""The decoder of streams makes the pixels of the one that is trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.pocket.autoencoder import (
    FRAME_SIZE,
    LATENT_CHANNELS,
    LATENT_SIZE,
    PICTURE_SIZE,
    Pictures,
    ReferenceFeatures,
    WarpDecoder,
    plate_of_size,
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


def _pictures(*, flat: bool, pans: bool) -> Pictures:
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(3, 1, 3, 24, 24, generator=generator, dtype=torch.float64) * 2 - 1
    shown = [F.interpolate(each, PICTURE_SIZE, mode="bilinear") for each in small]
    if pans:
        shown[1] = shown[2]
    return Pictures(*shown, flat=torch.tensor([flat]), pans=torch.tensor([pans]))


@torch.no_grad()
def _features(decoder: WarpDecoder, *, flat: bool, pans: bool) -> ReferenceFeatures:
    return decoder.encode_reference(_pictures(flat=flat, pans=pans))


def _latents(count: int) -> Tensor:
    shape = (count, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@torch.no_grad()
def _plain(
    decoder: WarpDecoder,
    latents: Tensor,
    features: ReferenceFeatures,
    plate: Tensor | None = None,
) -> Tensor:
    count = len(latents)
    behind = None if plate is None else plate.expand(count, -1, -1, -1)
    shown = features.expand(count)
    frames = decoder(latents, shown, SCALE.expand(count), plate=behind).frames
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


@pytest.mark.parametrize("size", [256, 384])
@pytest.mark.parametrize("kind", ["plate", "flat", "pans"])
def test_larger_frames_are_those_of_the_trained_one(
    decoder: WarpDecoder, kind: str, size: int
) -> None:
    pictures = _pictures(flat=kind == "flat", pans=kind == "pans")
    with torch.no_grad():
        features = decoder.encode_reference(pictures)
    plate, latents = plate_of_size(pictures.behind(), size), _latents(1)
    made = FrameDecoder(decoder, torch.float64, size=size)(latents, features, SCALE, plate)
    assert made.shape == (1, size, size, 3)
    wanted = _plain(decoder, latents, features, plate)
    # `warp` has where pixels stand as float32, which is exact at the trained size alone
    assert (made.double() - wanted.clamp(0, 255)).abs().max() <= 0.5 + 2e-3


def test_a_plate_of_the_trained_size_is_the_one_that_features_have(decoder: WarpDecoder) -> None:
    pictures = _pictures(flat=False, pans=False)
    features = _features(decoder, flat=False, pans=False)
    plate = plate_of_size(pictures.behind(), FRAME_SIZE)
    torch.testing.assert_close(plate, features.plate)
    latents = _latents(1)
    one, other = (_plain(decoder, latents, features, each) for each in (None, plate))
    torch.testing.assert_close(one, other)


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
