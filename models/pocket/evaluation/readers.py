"""Small networks that read the lip gap, the look and the expression from pixels alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FACE = (0.22, 0.2, 0.78, 0.95)  # left, top, right, bottom as shares of the frame
_MOUTH_SIZE = 128
_MOUTH_ROWS, _MOUTH_COLUMNS = slice(60, 116), slice(32, 96)
_READER_SIZE = 64
FEATURES = 48
_SHARPNESS_OF_CHOICE = 12.0


def at_size(frames: Tensor, size: int) -> Tensor:
    """Frames [B, 3, H, W] resized to `size` squared, without aliasing."""
    if frames.shape[-2:] == (size, size):
        return frames
    return F.interpolate(frames, (size, size), mode="bilinear", antialias=True)


class MouthMeter(nn.Module):
    """Frames -1..1 [B, 3, H, W] of any size -> lip gap in standard deviations [B]."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 64)):
            stages += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        head = [nn.Flatten(), nn.Linear(64 * 7 * 8, 64), nn.ReLU(), nn.Linear(64, 1)]
        self.layers = nn.Sequential(*stages, *head)

    def forward(self, frames: Tensor) -> Tensor:
        seen = at_size(frames, _MOUTH_SIZE)[..., _MOUTH_ROWS, _MOUTH_COLUMNS]
        return self.layers(seen)[:, 0]


class FrameReader(nn.Module):
    """Frames -1..1 [B, 3, H, W] of any size -> scores of `classes`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 64), (64, 64)):
            stages += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*stages, nn.Flatten(), nn.Linear(64 * 16, FEATURES))
        self.head = nn.Linear(FEATURES, classes)

    def features(self, frames: Tensor) -> Tensor:
        """Unit vectors [B, 48]: near for one person in different poses, far for two people."""
        return F.normalize(self.layers(at_size(frames, _READER_SIZE)), dim=1)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(_SHARPNESS_OF_CHOICE * self.features(frames))


class ExpressionReader(nn.Module):
    """Frames -1..1 [B, 3, H, W] of any size -> scores of `classes`, by what the face shows."""

    SIZE = 96

    def __init__(self, classes: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Conv2d(3, 32, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        ]
        for before, after in ((32, 48), (48, 64), (64, 96), (96, 96)):
            stages += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        head = [nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 9, 64), nn.ReLU()]
        self.layers = nn.Sequential(*stages, *head, nn.Linear(64, classes))

    @classmethod
    def face(cls, frames: Tensor) -> Tensor:
        """What it looks at: the faces [B, 3, 96, 96] of frames [B, 3, H, W]."""
        height, width = frames.shape[-2:]
        left, top, right, bottom = _FACE
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        return at_size(frames[..., rows, columns], cls.SIZE)

    def read(self, faces: Tensor) -> Tensor:
        """Scores [B, classes] of faces that were cut already."""
        return self.layers(faces.contiguous(memory_format=torch.channels_last))

    def forward(self, frames: Tensor) -> Tensor:
        return self.read(self.face(frames))
