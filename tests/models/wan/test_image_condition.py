"""Mask and condition of image to video."""

from __future__ import annotations

import torch

from rollcast.models.wan.encoder import WanEncoder, WanEncoderConfig
from rollcast.models.wan.image_condition import image_channels


def test_the_mask_is_the_first_latent_frame_only() -> None:
    condition = torch.randn(2, 7, 16, 3, 4)
    whole = image_channels(condition, 0)
    assert whole.shape == (2, 7, 20, 3, 4)
    assert (whole[:, 0, :4] == 1).all() and not whole[:, 1:, :4].any()
    assert torch.equal(whole[:, :, 4:], condition)
    chunks = [image_channels(condition[:, start:end], start) for start, end in ((0, 1), (1, 7))]
    assert torch.equal(torch.cat(chunks, 1), whole)


def test_the_encoder_forgets_the_picture_within_the_published_clip() -> None:
    """At its published depth it comes to rest to the last bit, before 31 latents are over.

    So a clip that goes on without end is one that repeats its last latent.
    """
    torch.manual_seed(0)
    encoder = WanEncoder(WanEncoderConfig(dim=4)).eval()
    for parameter in encoder.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
        torch.nn.init.normal_(parameter, std=spread)
    memory: dict[str, torch.Tensor] = {}
    made = [encoder.encode(torch.rand(1, 1, 3, 16, 16) * 2 - 1, memory)]
    rests = 0
    while not rests:
        before = dict(memory)
        made.append(encoder.encode(torch.zeros(1, 4, 3, 16, 16), memory))
        if all(torch.equal(before[name], memory[name]) for name in before):
            rests = len(made)
    assert 20 < rests <= 31
    for _ in range(3):
        assert torch.equal(encoder.encode(torch.zeros(1, 4, 3, 16, 16), memory), made[-1])
