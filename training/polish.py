"""Teach the decoder to draw what the student really makes: `python -m training.polish`.

The student is frozen. Its samples are not quite the autoencoder's latents, and a decoder that
never saw them draws them soft. Here it draws them, and is corrected by the rendered frames and
by a critic of patches at mouths, eyes and anywhere (hinge GAN and feature matching). It may begin
before there is a student, on the true latents: `--student-share 0`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from rollcast.models.pocket.autoencoder import FRAME_SIZE, WarpDecoder

from .critic import Critic, contrast_loss, critic_loss, patches_at, persuasion
from .loop import LoopConfig, Losses, Trainer
from .losses import choice_loss, focus, picture_loss, shut_loss
from .pocket_student import PocketStudent
from .sequences import Batch
from .student import prepare
from .task import TrainingTask

_AVATARS, _SCENES, _CHUNKS = 5, 1, 3
_FRAMES = 12
_PLEASE, _MATCH, _CONTRAST, _CHOICE = 0.02, 1.0, 2.0, 0.05
_CRITIC_RATE = 4e-4
_NOISE = 0.25


class Polish:
    """The losses of a decoder on frozen samples."""

    def __init__(self, task: TrainingTask, student: PocketStudent, share: float) -> None:
        self.task, self.student, self.share = task, student, share
        self.critic = Critic()
        self.optimizer = torch.optim.Adam(self.critic.parameters(), _CRITIC_RATE, betas=(0.5, 0.99))

    def losses(self, model: nn.Module, step: int) -> Losses:
        """One batch's losses of a `WarpDecoder`; the critic learns on the way."""
        task = self.task
        batch = task.train.draw(_AVATARS, _SCENES, _CHUNKS)
        made = self._latents(batch, step)
        rows = torch.randperm(len(batch.look) * _CHUNKS * 4)[:_FRAMES]
        real, centres, weight, seen = self._truth(batch, rows)
        task.decoder = model
        decoded = task.decoded(made, batch.look, rows)
        drawn = decoded.frames.float()
        places = torch.arange(_FRAMES).repeat(2)
        real_patches = patches_at(real[places], centres)
        drawn_patches = patches_at(drawn[places], centres)
        self._teach_critic(real_patches, drawn_patches)
        please, match = persuasion(self.critic, real_patches, drawn_patches)
        return {
            "picture": picture_loss(real, drawn, weight),
            "please": _PLEASE * please,
            "match": _MATCH * match,
            "choice": _CHOICE * choice_loss(decoded.choice, *seen),
            "shut": shut_loss(decoded.choice),
            "contrast": _CONTRAST * contrast_loss(real_patches, drawn_patches),
        }

    @torch.no_grad()
    def _latents(self, batch: Batch, step: int) -> Tensor:
        """The student's samples, or the truth with noise that resembles their errors."""
        if torch.rand(()) < self.share:
            return self.task.sample(self.student, batch, seed=step)[-1]
        return batch.latents + _NOISE * torch.rand(()) * torch.randn_like(batch.latents)

    def _teach_critic(self, real: Tensor, made: Tensor) -> None:
        loss = critic_loss(self.critic, real, made)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _truth(
        self, batch: Batch, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Frames, centres of two patches in each (mouth, then an eye or any place), weights.

        And where each of a look's two pictures shows what the frames show.
        """
        task = self.task
        length = 4 * _CHUNKS
        which = rows // length
        clip, time = batch.clip[which], batch.start[which] + rows % length
        real = task.train.frames(clip, time)
        boxes = task.train.clips.boxes[clip, time]
        look = batch.look[which]
        face = task.references.is_avatar[look]
        anywhere = torch.rand(len(rows), 2) * FRAME_SIZE
        eye = boxes[torch.arange(len(rows)), torch.randint(1, 3, (len(rows),))]
        mouth = torch.where(face[:, None], boxes[:, 0], anywhere.flip(0))
        other = torch.where((face & (torch.rand(len(rows)) < 0.5))[:, None], eye, anywhere)
        truth = task.train.clips.motion(clip, time)
        seen = truth.fine_known[:, None], truth.open_known[:, None]
        return real, torch.cat([mouth, other]), focus(real, boxes, face), seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train/polish"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--student-share", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    task, student = prepare(args.data, args.parts)
    if args.student_share:
        saved = torch.load(args.parts / "student/student.pt", weights_only=True)
        student.load_state_dict(saved["student"])
    student.requires_grad_(False).eval()
    decoder = task.decoder.requires_grad_(True)
    assert isinstance(decoder, WarpDecoder)
    # what the student sees of the pictures stays as it is
    for part in (decoder.see_pictures, decoder.ref_middle, decoder.ref_coarse):
        part.requires_grad_(False)
    trainer = Trainer(decoder, LoopConfig(args.steps, 5e-4, average=0.99), args.out, args.seed)
    trainer.resume()

    def evaluate(model: nn.Module) -> dict[str, float]:
        task.decoder = model
        return task.evaluate(student) if args.student_share else task.reconstruct()

    trainer.run(Polish(task, student, args.student_share).losses, evaluate, evaluate_every=400)
    torch.save(trainer.averaged.state_dict(), args.out / "decoder.pt")


if __name__ == "__main__":
    main()
