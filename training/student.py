"""Train the pocket student: `python -m training.student`.

A causal few-step flow sampler trained in parallel over whole sequences. Every chunk of a sequence
is at the same denoising step, as in a stream with one cache per step, so one masked pass equals
streaming and nothing has to be unrolled. The first step starts from pure noise; the second is
trained on the student's own first estimate half of the time (Self Forcing, arXiv 2506.08009), so
that it meets in training what it meets in a stream.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.benchmarks.quality_nets import MouthMeter
from rollcast.benchmarks.quality_set import QualitySet
from rollcast.models.conditioning import Conditions
from rollcast.models.denoise import FlowSchedule
from rollcast.models.pocket.autoencoder import Decoded
from rollcast.models.pocket.conditions import unpack_latents
from rollcast.models.pocket.config import CACHE, SHIFT, STEPS, STUDENT
from rollcast.models.pocket.prompt import TokenEmbedding, Vocabulary
from rollcast.models.student import CausalStudent

from .autoencoder import Autoencoder, quality
from .clips import Clips, load_index, load_looks
from .loop import LoopConfig, Losses, Trainer
from .losses import focus, picture_loss
from .sequences import Batch, Normalisation, References, Sequences, encode_clips, measure
from .speech import predicted_visemes
from .visemes import correlation
from .vocabulary import build_vocabulary

AVATARS, SCENES, CHUNKS = 3, 2, 6
# the decoder joins after this share of the steps, on this many frames a step
_PIXELS_FROM = 0.35
_PIXEL_FRAMES = 10
_PIXEL_WEIGHT = 0.5
_OWN_ESTIMATE = 0.5
_MOUTH_CELLS, _EYE_CELLS = 3.0, 2.0


class PocketStudent(nn.Module):
    """The student and its word embedding: what training optimises."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.student = CausalStudent(STUDENT)
        self.words = TokenEmbedding(tokens, STUDENT.text_len, STUDENT.text_dim)

    def forward(
        self, batch: Batch, references: References, noisy: Tensor, timestep: float
    ) -> Tensor:
        """Samples [B, F, 112, 8, 8] from `noisy` chunks, the reference picture before them."""
        look = batch.look
        count, chunks = noisy.shape[:2]
        base = references.base[look]
        conditions = Conditions(
            frames=_with_reference(batch.frame),
            audio=_with_reference(batch.speech),
            tracks=F.pad(batch.tracks, _before(4, batch.tracks.ndim)),
            channels=references.channels[look],
            base=torch.cat([base, references.moved_base(batch)], 1),
        )
        times = torch.full((count, chunks + 1), timestep)
        times[:, 0] = 0
        out = self.student.forward_sequence(
            torch.cat([base, noisy], 1),
            times,
            self.student.encode_text(self.words(batch.words)),
            conditions,
            cache=CACHE,
            chunk_frames=1,
        )
        return out[:, 1:]


def _before(count: int, ndim: int) -> list[int]:
    """`F.pad` argument for `count` zero rows at the start of dimension 1."""
    return [0, 0] * (ndim - 2) + [count, 0]


def _with_reference(x: Tensor) -> Tensor:
    """`x` [B, F, ...] with zeros for the reference frame before it."""
    return F.pad(x, _before(1, x.ndim))


class Objective:
    """The losses of one step and the held-out measures."""

    def __init__(
        self,
        train: Sequences,
        test: Sequences,
        references: References,
        autoencoder: Autoencoder,
        norm: Normalisation,
        meter: MouthMeter,
        steps: int,
    ) -> None:
        self.train, self.test = train, test
        self.references, self.norm = references, norm
        self.decoder: nn.Module = autoencoder.decoder
        self.meter = meter
        self.steps = steps
        self.schedule = FlowSchedule(SHIFT)
        cells = torch.ones(8, 8)
        cells[5:7, 2:6] = _MOUTH_CELLS
        cells[3:5, 2:6] = _EYE_CELLS
        self.cells = cells / cells.mean()

    def losses(self, model: nn.Module, step: int) -> Losses:
        """Latent error at one denoising step, and pixel error once the decoder has joined."""
        assert isinstance(model, PocketStudent)
        batch = self.train.draw(AVATARS, SCENES, CHUNKS)
        noisy, timestep = self._noisy(model, batch)
        made = model(batch, self.references, noisy, timestep)
        face = self.references.is_avatar[batch.look][:, None, None, None, None]
        weight = torch.where(face, self.cells, torch.ones(8, 8))
        losses = {"latent": ((made.float() - batch.latents).square() * weight).mean()}
        if step >= _PIXELS_FROM * self.steps:
            losses = {
                "latent": 0.5 * losses["latent"],
                "pixels": _PIXEL_WEIGHT * self._pixels(batch, made),
            }
        return losses

    def _noisy(self, model: PocketStudent, batch: Batch) -> tuple[Tensor, float]:
        """Noise, or half-denoised chunks: of the truth, or of the student's own estimate."""
        noise = torch.randn_like(batch.latents)
        if torch.rand(()) < 0.5:
            return noise, STEPS[0]
        sample = batch.latents
        if torch.rand(()) < _OWN_ESTIMATE:
            with torch.no_grad():
                sample = model(batch, self.references, noise, STEPS[0]).float()
        fresh = torch.randn_like(noise)
        return self.schedule.add_noise(sample, fresh, STEPS[1]), STEPS[1]

    def decode(self, packed: Tensor, look: Tensor, rows: Tensor | None = None) -> Tensor:
        """Frames [n, 3, 192, 192] of packed latents [B, F, 112, 8, 8]; `rows` picks frames."""
        return self.draw(packed, look, rows).frames

    def draw(self, packed: Tensor, look: Tensor, rows: Tensor | None = None) -> Decoded:
        """As `decode`, with what the frames were drawn from."""
        frames = packed.shape[1] * 4
        latents = unpack_latents(packed).flatten(0, 1) * self.norm.spread + self.norm.mean
        look = look.repeat_interleave(frames)
        if rows is not None:
            latents, look = latents[rows], look[rows]
        reference = self.references.of(look)
        return self.decoder(latents, reference, self.references.scale[look])

    def _pixels(self, batch: Batch, made: Tensor) -> Tensor:
        chunks = made.shape[1]
        rows = torch.randperm(len(batch.look) * chunks * 4)[:_PIXEL_FRAMES]
        which, frame = rows // (4 * chunks), rows % (4 * chunks)
        clip, time = batch.clip[which], batch.start[which] + frame
        real = self.train.frames(clip, time)
        avatar = self.references.is_avatar[batch.look[which]]
        weight = focus(real, self.train.clips.boxes[clip, time], avatar)
        return picture_loss(real, self.decode(made, batch.look, rows).float(), weight)

    def sample(self, model: PocketStudent, batch: Batch, seed: int = 0) -> list[Tensor]:
        """The estimate after each denoising step, as a stream would make it."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch.latents.shape, generator=generator)
        estimates = []
        for k, timestep in enumerate(STEPS):
            if k:
                fresh = torch.randn(x.shape, generator=generator)
                x = self.schedule.add_noise(estimates[-1], fresh, timestep)
            estimates.append(model(batch, self.references, x, timestep))
        return estimates

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Held-out clips, heard: latent error of each step, pictures, lip-sync."""
        assert isinstance(model, PocketStudent)
        batch = self._held_out()
        estimates = self.sample(model, batch)
        errors = [(e - batch.latents).square().mean() for e in estimates]
        report = {f"latent_{k + 1}": float(e) for k, e in enumerate(errors)}
        report |= self._pictures(estimates[-1], batch)
        avatars = batch.clip[self.references.is_avatar[batch.look]]
        return report | self._lip_sync(estimates[-1][: len(avatars)], batch, avatars)

    def reconstruct(self) -> dict[str, float]:
        """Held-out clips drawn from their true latents: what a perfect student would show."""
        batch = self._held_out()
        return self._pictures(batch.latents, batch)

    def _held_out(self) -> Batch:
        """Every second avatar clip and every third scene clip of the held-out ones, whole."""
        clips = self.test.clips
        avatars = self.references.is_avatar[clips.look].nonzero()[:, 0][::2]
        scenes = (~self.references.is_avatar[clips.look]).nonzero()[:, 0][::3]
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


@torch.no_grad()
def fit_draft(model: PocketStudent, train: Sequences, references: References) -> float:
    """Initialise the student's linear draft by ridge regression; share of variance explained."""
    clips = train.avatars
    chunks = train.clips.length // 4 - 1
    inputs, outputs = [], []
    for offset in range(4):
        batch = train.cut(clips, torch.full_like(clips, offset), chunks)
        inputs.append(batch.frame.flatten(0, 1))
        outputs.append((batch.latents - references.moved_base(batch)).flatten(0, 1).flatten(1))
    x, y = torch.cat(inputs), torch.cat(outputs)
    x1 = torch.cat([x, torch.ones(len(x), 1)], 1)
    ridge = 20 * torch.eye(x1.shape[1])
    solution = torch.linalg.solve(x1.T @ x1 + ridge, x1.T @ y)
    draft = model.student.draft
    assert draft is not None
    draft.weight.copy_(solution[:-1].T)
    draft.bias.copy_(solution[-1])
    return 1 - float((x1 @ solution - y).square().mean() / y.square().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train/student"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    objective, model = prepare(args.data, args.parts, args.steps)
    trainer = Trainer(model, LoopConfig(args.steps, 1.5e-3, weight_decay=0.01), args.out, args.seed)
    if not trainer.resume():
        share = fit_draft(model, objective.train, objective.references)
        trainer.averaged.load_state_dict(model.state_dict())
        print(f"linear draft explains {share:.0%} of the variance")  # noqa: T201
    trainer.run(objective.losses, objective.evaluate, evaluate_every=500)
    norm = objective.norm
    torch.save(
        {"student": trainer.averaged.state_dict(), "mean": norm.mean, "spread": norm.spread},
        args.out / "student.pt",
    )


def prepare(data: Path, parts: Path, steps: int) -> tuple[Objective, PocketStudent]:
    """The data as latents with the losses on them, and a student that has learnt nothing yet."""
    index = load_index(data)
    looks = load_looks(data, index)
    vocabulary, _ = build_vocabulary(index)
    autoencoder = load_autoencoder(parts / "autoencoder/autoencoder.pt")
    splits = {name: Clips(data, name, index, looks) for name in ("train", "test")}
    raw_references = References(autoencoder, looks, None)
    encoded = {k: encode_clips(autoencoder, clips, raw_references) for k, clips in splits.items()}
    norm = measure(encoded["train"], splits["train"], raw_references)
    references = References(autoencoder, looks, norm)
    heard = predicted_visemes(parts / "visemes/visemes.pt", splits["test"])
    shared = (looks, references, norm)
    train = _sequences(splits["train"], encoded["train"], shared, vocabulary, index, None)
    test = _sequences(splits["test"], encoded["test"], shared, vocabulary, index, heard)
    mouth = QualitySet.read(parts / "measures/quality.safetensors").mouth
    objective = Objective(train, test, references, autoencoder, norm, mouth, steps)
    return objective, PocketStudent(len(vocabulary.tokens))


def _sequences(
    clips: Clips,
    latents: Tensor,
    shared: tuple[list, References, Normalisation],
    vocabulary: Vocabulary,
    index: dict,
    visemes: Tensor | None,
) -> Sequences:
    looks, references, norm = shared
    return Sequences(
        clips, looks, references, norm, latents, vocabulary, index["expressions"], visemes
    )


def load_autoencoder(path: Path) -> Autoencoder:
    """The trained autoencoder, frozen."""
    model = Autoencoder().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.requires_grad_(False).eval()


if __name__ == "__main__":
    main()
