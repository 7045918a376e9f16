"""A small network that reads the lip gap from pixels: `python -m training.meter`.

It is trained on rendered frames only and validated on held-out ones, so that lip-sync of
generated frames is measured from what a viewer sees.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.benchmarks.quality_nets import MouthMeter
from rollcast.benchmarks.quality_signals import to_signed

from .clips import Clips, load_index, load_looks
from .loop import LoopConfig, Losses, Trainer
from .visemes import correlation

BATCH = 64


class MouthBatches:
    """Draws avatar frames, some of them softened or noisy, with their true lip gap."""

    def __init__(self, clips: Clips, is_avatar: Tensor) -> None:
        self.rows = is_avatar[clips.look].nonzero()[:, 0]
        self.clips = clips
        gaps = clips.lip_gap[self.rows]
        self.mean, self.spread = float(gaps.mean()), float(gaps.std())

    def losses(self, model: nn.Module, step: int) -> Losses:
        """Smooth L1 of the gap."""
        clip = self.rows[torch.randint(len(self.rows), (BATCH,))]
        time = torch.randint(self.clips.length, (BATCH,))
        frames = to_signed(self.clips.frames[clip, time])
        if step % 2:
            frames = F.interpolate(F.avg_pool2d(frames, 2), scale_factor=2)
        frames = frames + 0.05 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(frames)
        real = (self.clips.lip_gap[clip, time] - self.mean) / self.spread
        return {"gap": F.smooth_l1_loss(model(frames).float(), real)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Correlation per clip on real frames: mean and worst clip."""
        scores = []
        for row in self.rows.tolist():
            read = model(to_signed(self.clips.frames[row]))
            scores.append(correlation(read, self.clips.lip_gap[row]))
        return {"mean": float(np.nanmean(scores)), "worst": float(np.nanmin(scores))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train/meter"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    index = load_index(args.data)
    looks = load_looks(args.data, index)
    is_avatar = torch.tensor([look.is_avatar for look in looks])
    train = MouthBatches(Clips(args.data, "train", index, looks), is_avatar)
    test = MouthBatches(Clips(args.data, "test", index, looks), is_avatar)
    trainer = Trainer(MouthMeter(), LoopConfig(args.steps, 2e-3, weight_decay=0.01), args.out, 3)
    trainer.resume()
    trainer.run(train.losses, test.evaluate, evaluate_every=500)
    torch.save(trainer.averaged.state_dict(), args.out / "meter.pt")


if __name__ == "__main__":
    main()
