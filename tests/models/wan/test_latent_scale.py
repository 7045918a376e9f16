"""The published scales of latents, there and back."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

from rollcast.models.wan.latent_scale import (
    LATENT_DEVIATION,
    LATENT_DEVIATION_22,
    LATENT_MEAN,
    LATENT_MEAN_22,
    published_scale,
    students_scale,
)


def test_the_published_scale() -> None:
    scaled = published_scale(torch.ones(1, 1, 16, 1, 1)).flatten()
    assert scaled[0].item() == pytest.approx(2.8184 - 0.7571)
    assert scaled[15].item() == pytest.approx(1.9160 - 0.2921)
    scaled = published_scale(torch.ones(1, 1, 48, 1, 1)).flatten()
    assert scaled[0].item() == pytest.approx(0.4765 - 0.2289)
    assert scaled[47].item() == pytest.approx(0.7744 - 0.0667)


def test_diffusers_has_the_same_of_the_first() -> None:
    with torch.device("meta"):
        config = AutoencoderKLWan().config
    assert tuple(config["latents_mean"]) == LATENT_MEAN
    assert tuple(config["latents_std"]) == LATENT_DEVIATION
    assert len(LATENT_MEAN_22) == len(LATENT_DEVIATION_22) == 48


@pytest.mark.parametrize("channels", [16, 48])
def test_there_and_back(channels: int) -> None:
    latents = torch.randn(1, 2, channels, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(students_scale(published_scale(latents)), latents)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 channels; those of Wan 2\.1 have 16, of 2\.2 48"):
        published_scale(torch.ones(1, 1, 4, 1, 1))
