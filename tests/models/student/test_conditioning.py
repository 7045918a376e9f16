"""Conditions are checked, sliced and, untrained, without effect."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.student.conditioning import Conditions, TrackHead
from rollcast.models.student.config import StudentConfig

CONFIG = StudentConfig(
    dim=48, ffn_dim=64, num_heads=2, num_layers=1, in_channels=4, out_channels=4,
    text_dim=8, text_len=4, frame_dim=3, audio_tokens=2, audio_dim=5,
)  # fmt: skip


def fitting(frames: int = 4) -> dict[str, torch.Tensor]:
    return {"frames": torch.randn(1, frames, 3), "audio": torch.randn(1, frames, 2, 5)}


def test_fitting_conditions_pass() -> None:
    Conditions(**fitting()).check(CONFIG, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": None}, "needs Conditions.audio"),
        ({"frames": torch.randn(1, 5, 3)}, r"Conditions.frames is \(1, 5, 3\); expected \[B, 4"),
        ({"audio": torch.randn(1, 4, 2, 6)}, "Conditions.audio is"),
        ({"tracks": torch.randn(1, 16, 2, 4, 4)}, "no use for Conditions.tracks"),
        ({"base": torch.randn(1, 1, 4, 4, 4)}, "predict the sample"),
    ],
)
def test_others_are_told_why(change: dict[str, torch.Tensor | None], message: str) -> None:
    conditions = Conditions(**(fitting() | change))
    with pytest.raises(ValueError, match=message):
        conditions.check(CONFIG, 4)


def test_part_takes_the_frames_asked_for() -> None:
    conditions = Conditions(
        frames=torch.arange(6.0).reshape(1, 6, 1),
        tracks=torch.arange(12.0).reshape(1, 12, 1, 1, 1),
        channels=torch.ones(1, 1, 2, 1, 1),
    )
    part = conditions.part(2, 3, track_stride=2)
    assert part.frames is not None and part.tracks is not None
    assert part.frames.flatten().tolist() == [2, 3, 4]
    assert part.tracks.flatten().tolist() == [4, 5, 6, 7, 8, 9]
    assert part.channels is conditions.channels
    assert part.audio is None


def test_track_head_is_silent_until_trained_and_causal_by_chunk() -> None:
    torch.manual_seed(0)
    head = TrackHead(2, 3, 4)
    tracks = torch.randn(1, 12, 2, 4, 4)
    assert not head(tracks).any()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    whole = head(tracks)
    assert whole.shape == (1, 3, 3, 4, 4)
    chunks = torch.cat([head(tracks[:, start : start + 4]) for start in (0, 4, 8)], dim=1)
    torch.testing.assert_close(chunks, whole)
