"""Speech features by video frame: both ends of the audio kept, the nearest of 30 a second."""

from __future__ import annotations

import torch

from rollcast.models.live_avatar.speech_frames import features_of_frames, to_video_rate


def ramp(frames: int) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float32)[None, :, None].expand(2, -1, 1)


def test_fifty_to_thirty_a_second() -> None:
    made = to_video_rate(ramp(50))
    assert made.shape == (2, 30, 1)
    torch.testing.assert_close(made[0, :, 0], torch.linspace(0, 49, 30))
    assert to_video_rate(ramp(23)).shape[1] == 13


def test_a_chunk_alone_lacks_its_last_frame() -> None:
    """What 0.48 s of audio gives in the published code: the twelfth frame has nothing."""
    rows, batches = features_of_frames(to_video_rate(ramp(23)) + 1, fps=25, batch_frames=12)
    assert (batches, rows.shape) == (1, (12, 2, 1))
    assert (rows[:11] > 0).all()
    assert not rows[11].any()


def test_nearest_feature_of_each_frame() -> None:
    rows, batches = features_of_frames(ramp(90), fps=16, batch_frames=16)
    assert batches == 4
    # 30 / 16 = 1.875 a frame; halves go to the even neighbour.
    assert rows[:13, 0, 0].tolist() == [0, 2, 4, 6, 8, 9, 11, 13, 15, 17, 19, 21, 22]
