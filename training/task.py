"""What students and decoders are taught with, and how they are examined on held-out clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rollcast.models.pocket.autoencoder import Decoded
from rollcast.models.pocket.conditions import unpack_latents
from rollcast.models.pocket.config import SHIFT, STEPS
from rollcast.models.pocket.evaluation.readers import MouthMeter
from rollcast.models.sampling.flow_schedule import FlowSchedule

from .autoencoder import Autoencoder, quality
from .lip_reward import change, lip_reward
from .loop import Losses
from .losses import focus, picture_loss
from .pocket_student import PocketStudent
from .sequences import Batch, Normalisation, References, Sequences
from .visemes import correlation

_AVATARS, _SCENES, _CHUNKS = 3, 2, 6
_PIXEL_FRAMES = 10
_PIXEL_WEIGHT = 0.5
_MOUTH_CELLS, _EYE_CELLS = 3.0, 2.0


class TrainingTask:
    """What a student is taught with: data, decoder, errors, and held-out measures."""

    steps: Sequence[float] = STEPS

    def __init__(
        self,
        train: Sequences,
        test: Sequences,
        references: References,
        autoencoder: Autoencoder,
        norm: Normalisation,
        meter: MouthMeter,
    ) -> None:
        self.train, self.test = train, test
        self.references, self.norm = references, norm
        self.decoder: nn.Module = autoencoder.decoder
        self.meter = meter
        self.schedule = FlowSchedule(SHIFT)
        cells = torch.ones(8, 8)
        cells[5:7, 2:6] = _MOUTH_CELLS
        cells[3:5, 2:6] = _EYE_CELLS
        self.cells = cells / cells.mean()

    def draw(self) -> Batch:
        """A batch to train on."""
        return self.train.draw(_AVATARS, _SCENES, _CHUNKS)

    def latent_error(self, batch: Batch, made: Tensor) -> Tensor:
        """Mean squared error of latents [B, F, 112, 8, 8]; a face's mouth and eyes count more."""
        face = self.references.is_avatar[batch.look][:, None, None, None, None]
        weight = torch.where(face, self.cells, torch.ones(8, 8))
        return ((made.float() - batch.latents).square() * weight).mean()

    def pixel_error(self, batch: Batch, made: Tensor) -> Tensor:
        """Error of a few frames that the decoder draws from `made`."""
        chunks = made.shape[1]
        rows = torch.randperm(len(batch.look) * chunks * 4)[:_PIXEL_FRAMES]
        which, frame = rows // (4 * chunks), rows % (4 * chunks)
        clip, time = batch.clip[which], batch.start[which] + frame
        real = self.train.frames(clip, time)
        avatar = self.references.is_avatar[batch.look[which]]
        weight = focus(real, self.train.clips.boxes[clip, time], avatar)
        return picture_loss(real, self.decode(made, batch.look, rows).float(), weight)

    def errors(self, batch: Batch, made: Tensor, *, pixels: bool) -> Losses:
        """Errors of samples that have a truth; with `pixels` also of what the decoder draws."""
        latent = self.latent_error(batch, made)
        if not pixels:
            return {"latent": latent}
        error = self.pixel_error(batch, made)
        return {"latent": 0.5 * latent, "pixels": _PIXEL_WEIGHT * error}

    def reward(self, batch: Batch, made: Tensor) -> Tensor:
        """As `lip_reward`."""
        return lip_reward(self, batch, made)

    def estimate(
        self, model: PocketStudent, batch: Batch, noisy: Tensor, timestep: float
    ) -> Tensor:
        """The samples that `model` sees in `noisy`."""
        return model(batch, self.references, noisy, timestep)

    def renoise(self, sample: Tensor, timestep: float) -> Tensor:
        """`sample` at a denoising step, with fresh noise."""
        return self.schedule.add_noise(sample, torch.randn_like(sample), timestep)

    def decode(self, packed: Tensor, look: Tensor, rows: Tensor | None = None) -> Tensor:
        """Frames [n, 3, 192, 192] of packed latents [B, F, 112, 8, 8]; `rows` picks frames."""
        return self.decoded(packed, look, rows).frames

    def decoded(self, packed: Tensor, look: Tensor, rows: Tensor | None = None) -> Decoded:
        """As `decode`, with what the frames were drawn from."""
        frames = packed.shape[1] * 4
        latents = unpack_latents(packed).flatten(0, 1) * self.norm.spread + self.norm.mean
        look = look.repeat_interleave(frames)
        if rows is not None:
            latents, look = latents[rows], look[rows]
        reference = self.references.of(look)
        return self.decoder(latents, reference, self.references.scale[look])

    def sample(
        self,
        model: PocketStudent,
        batch: Batch,
        seed: int = 0,
        steps: Sequence[float] = STEPS,
    ) -> list[Tensor]:
        """The estimate after each denoising step, as a stream would make it."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch.latents.shape, generator=generator)
        estimates = []
        for k, timestep in enumerate(steps):
            if k:
                fresh = torch.randn(x.shape, generator=generator)
                x = self.schedule.add_noise(estimates[-1], fresh, timestep)
            estimates.append(model(batch, self.references, x, timestep))
        return estimates

    def evaluate(
        self, model: nn.Module, steps: Sequence[float] = STEPS, every: int = 3
    ) -> dict[str, float]:
        """Held-out clips, heard: latent error of each step, pictures, lip-sync.

        One clip in `every` is looked at.
        """
        assert isinstance(model, PocketStudent)
        batch = self._held_out(every)
        estimates = self.sample(model, batch, steps=steps)
        errors = [(e - batch.latents).square().mean() for e in estimates]
        report = {f"latent_{k + 1}": float(e) for k, e in enumerate(errors)}
        amounts = [change(x).mean() for x in (estimates[-1], batch.latents)]
        report["motion"] = float(amounts[0] / amounts[1])
        report |= self._pictures(estimates[-1], batch)
        avatars = batch.clip[self.references.is_avatar[batch.look]]
        return report | self._lip_sync(estimates[-1][: len(avatars)], batch, avatars)

    def reconstruct(self) -> dict[str, float]:
        """Held-out clips drawn from their true latents: what a perfect student would show."""
        batch = self._held_out(3)
        return self._pictures(batch.latents, batch)

    def _held_out(self, every: int) -> Batch:
        """One avatar clip and one scene clip in `every` of the held-out ones, whole."""
        clips = self.test.clips
        avatars = self.references.is_avatar[clips.look].nonzero()[:, 0][::every]
        scenes = (~self.references.is_avatar[clips.look]).nonzero()[:, 0][::every]
        chosen = torch.cat([avatars, scenes])
        return self.test.cut(chosen, torch.zeros_like(chosen), clips.length // 4, drop=False)

    def _pictures(self, latents: Tensor, batch: Batch) -> dict[str, float]:
        clips = self.test.clips
        time = torch.arange(2, clips.length, 7)
        rows = (torch.arange(len(batch.clip))[:, None] * clips.length + time).flatten()
        pieces = [self.decode(latents, batch.look, part).clamp(-1, 1) for part in rows.split(64)]
        clip, when = batch.clip.repeat_interleave(len(time)), time.repeat(len(batch.clip))
        real, boxes = self.test.frames(clip, when), clips.boxes[clip, when]
        return quality(real, torch.cat(pieces), boxes, clips.look[clip], self.references.is_avatar)

    def _lip_sync(self, made: Tensor, batch: Batch, avatars: Tensor) -> dict[str, float]:
        scores, amplitude = [], []
        for k, clip in enumerate(avatars.tolist()):
            frames = self.decode(made[k : k + 1], batch.look[k : k + 1]).clamp(-1, 1)
            read, true = self.meter(frames), self.test.clips.lip_gap[clip]
            scores.append(correlation(read, true))
            amplitude.append(float(read.std() * self.test.clips.lip_gap.std() / true.std()))
        worst = min(scores)
        mean = sum(scores) / len(scores)
        return {"lip": mean, "lip_worst": worst, "opening": sum(amplitude) / len(amplitude)}
