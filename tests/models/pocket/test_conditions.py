"""Packing of frames into latent frames, and grouping of per-frame features."""

import torch

from rollcast.models.pocket.autoencoder import LATENT_CHANNELS, unfold_motion
from rollcast.models.pocket.conditions import (
    FRAME_DIM,
    FRAME_FEATURES,
    frame_conditions,
    frame_features,
    grouped,
    moved_base,
    pack_latents,
    unpack_latents,
)


def test_packing_keeps_frames_apart_and_in_order() -> None:
    latents = torch.randn(2, 12, LATENT_CHANNELS, 8, 8)
    packed = pack_latents(latents)
    assert packed.shape == (2, 3, 4 * LATENT_CHANNELS, 8, 8)
    assert torch.equal(packed[1, 2, LATENT_CHANNELS : 2 * LATENT_CHANNELS], latents[1, 9])
    assert torch.equal(unpack_latents(packed), latents)


def test_groups_overlap_by_the_frame_before() -> None:
    features = torch.randn(2, 8, FRAME_FEATURES)
    previous = torch.randn(2, FRAME_FEATURES)
    groups = grouped(features, previous)
    assert groups.shape == (2, 2, 5, FRAME_FEATURES)
    assert torch.equal(groups[:, 0, 0], previous)
    assert torch.equal(groups[:, 1], features[:, 3:8])


def test_grouping_in_chunks_equals_grouping_at_once() -> None:
    features, previous = torch.randn(1, 12, FRAME_FEATURES), torch.randn(1, FRAME_FEATURES)
    whole = grouped(features, previous)
    parts, last = [], previous
    for chunk in features.split(4, 1):
        parts.append(grouped(chunk, last))
        last = chunk[:, -1]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_speech_tokens_are_the_viseme_part() -> None:
    features = frame_features(torch.rand(1, 4, 16), torch.rand(1, 4, 7), torch.rand(1, 4, 5))
    frame, speech = frame_conditions(grouped(features, features[:, 0]))
    assert frame.shape == (1, 1, FRAME_DIM)
    assert torch.equal(speech[0, 0, 1:], features[0, :, :16])
    assert torch.equal(features[..., -1], torch.ones(1, 4))


def test_a_draft_says_how_things_and_the_camera_moved() -> None:
    base = torch.zeros(1, 1, 4 * LATENT_CHANNELS, 8, 8)
    spread = torch.rand(LATENT_CHANNELS, 1, 1) + 0.5
    scale, pans = torch.tensor([24.0]), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    flow, pan = torch.randn(1, 8, 2, 16, 16) * 9, torch.randn(1, 8, 2) * 9
    drafted = moved_base(base, flow, pan, scale, spread)
    assert drafted.shape == (1, 2, 4 * LATENT_CHANNELS, 8, 8)
    latents = unpack_latents(drafted)[0] * spread
    again, way = unfold_motion(latents, scale.expand(8), pans)
    torch.testing.assert_close(again, flow[0])
    torch.testing.assert_close(way, pan[0, ..., None, None].expand_as(way))
