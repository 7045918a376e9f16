"""Mask and condition of image to video."""

from __future__ import annotations

import torch

from rollcast.models.wan.image_condition import image_channels


def test_the_mask_is_the_first_latent_frame_only() -> None:
    condition = torch.randn(2, 7, 16, 3, 4)
    whole = image_channels(condition, 0)
    assert whole.shape == (2, 7, 20, 3, 4)
    assert (whole[:, 0, :4] == 1).all() and not whole[:, 1:, :4].any()
    assert torch.equal(whole[:, :, 4:], condition)
    chunks = [image_channels(condition[:, start:end], start) for start, end in ((0, 1), (1, 7))]
    assert torch.equal(torch.cat(chunks, 1), whole)
