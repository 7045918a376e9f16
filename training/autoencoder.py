"""Train the pocket autoencoder: `python -m training.autoencoder`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from rollcast.benchmarks.quality_signals import laplacian_energy, to_signed
from rollcast.models.pocket.autoencoder import FrameEncoder, ReferenceFeatures, WarpDecoder

from .clips import Clips, Look, load_index, load_looks
from .loop import LoopConfig, Losses, Trainer
from .losses import (
    EYE_BOX,
    MOUTH_BOX,
    box_mask,
    focus,
    picture_loss,
    psnr,
)

CROP = (80, 64)
BATCH = 16
LOOKS_PER_BATCH = 4
MOTION_NOISE = 0.04
LEARNED_NOISE = 0.1


class Autoencoder(nn.Module):
    """Encoder and decoder together."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = FrameEncoder()
        self.decoder = WarpDecoder()


class Batches:
    """Draws crops; every batch holds few looks, because reference features are costly."""

    def __init__(self, clips: Clips, looks: list[Look]) -> None:
        self.clips = clips
        self.references = torch.stack([look.reference for look in looks])
        self.plates = torch.stack([look.plate for look in looks])
        self.scales = torch.tensor([look.scale for look in looks])
        self.is_avatar = torch.tensor([look.is_avatar for look in looks])
        self.by_look = [(clips.look == k).nonzero()[:, 0] for k in range(len(looks))]

    def losses(self, model: nn.Module, step: int) -> Losses:
        """One batch's losses of an `Autoencoder`."""
        assert isinstance(model, Autoencoder)
        clips = self.clips
        looks = torch.randperm(len(self.by_look))[:LOOKS_PER_BATCH]
        features = model.decoder.encode_reference(self.references[looks], self.plates[looks])
        pick = torch.randint(len(looks), (BATCH,))
        clip = torch.stack(
            [self.by_look[looks[k]][torch.randint(len(self.by_look[looks[k]]), ())] for k in pick]
        )
        time = torch.randint(clips.length, (BATCH,))
        look = looks[pick]
        top, left = _corner(bool(self.is_avatar[look].float().mean() > 0.3))
        real = to_signed(clips.frames[clip, time])
        weight = focus(real, clips.boxes[clip, time], self.is_avatar[look])
        real, weight = _cut(real, top, left), _cut(weight, top, left)
        reference = ReferenceFeatures(
            *(_cut(map_[pick], top, left, 128 // map_.shape[-1]) for map_ in features)
        )
        scale = self.scales[look]
        flow = _cut(clips.flow[clip, time], top, left, 8)
        latents = model.encoder(real, reference, flow, scale)
        made = model.decoder(_disturb(latents), reference, scale)
        known = _cut(clips.fine_known[clip, time][:, None].float(), top, left, 2)
        target = _cut(clips.fine_flow[clip, time].float().movedim(-1, 1), top, left, 2)
        miss = (made.flow[..., ::2, ::2] - target).abs() * known / scale[:, None, None, None]
        return {
            "picture": picture_loss(real, made.frames.float(), weight),
            "flow": 0.12 * miss.mean(),
            "size": 2e-3 * latents[:, 8:].float().square().mean(),
        }

    def reconstruct(self, model: Autoencoder, clip: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Real and reconstructed frames [n, 3, 128, 128]."""
        look = self.clips.look[clip]
        real = to_signed(self.clips.frames[clip, time])
        made = []
        for rows in torch.arange(len(clip)).split(32):
            reference = model.decoder.encode_reference(
                self.references[look[rows]], self.plates[look[rows]]
            )
            flow, scale = self.clips.flow[clip[rows], time[rows]], self.scales[look[rows]]
            latents = model.encoder(real[rows], reference, flow, scale)
            made.append(model.decoder(latents, reference, scale).frames.clamp(-1, 1))
        return real, torch.cat(made)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Held-out quality: PSNR and sharpness, whole and mouth, worst look included."""
        assert isinstance(model, Autoencoder)
        clip = torch.arange(len(self.clips)).repeat_interleave(4)
        time = torch.linspace(7, self.clips.length - 5, 4).long().repeat(len(self.clips))
        real, made = self.reconstruct(model, clip, time)
        return quality(
            real, made, self.clips.boxes[clip, time], self.clips.look[clip], self.is_avatar
        )


def quality(
    real: Tensor, made: Tensor, boxes: Tensor, look: Tensor, is_avatar: Tensor
) -> dict[str, float]:
    """PSNR (dB) and Laplacian energy ratios of frames [n, 3, H, W] by region."""
    error = (real - made).square().mean(1)
    face = is_avatar[look]
    mouth = box_mask(boxes[:, 0], MOUTH_BOX) & face[:, None, None]
    eyes = box_mask(boxes[:, 1], EYE_BOX) | box_mask(boxes[:, 2], EYE_BOX)
    eyes = eyes & face[:, None, None]
    sharp_real, sharp_made = laplacian_energy(real), laplacian_energy(made)
    inner = mouth[:, 1:-1, 1:-1]
    ratios = [
        float((sharp_made * inner)[look == k].sum() / (sharp_real * inner)[look == k].sum())
        for k in look.unique().tolist()
        if is_avatar[k]
    ]
    return {
        "psnr": psnr(error.mean()),
        "psnr_mouth": psnr(error[mouth].mean()),
        "psnr_eyes": psnr(error[eyes].mean()),
        "psnr_scene": psnr(error[~face].mean()),
        "sharp": float(sharp_made.mean() / sharp_real.mean()),
        "sharp_mouth": sum(ratios) / max(1, len(ratios)),
        "sharp_mouth_worst": min(ratios, default=float("nan")),
    }


def _corner(on_face: bool) -> tuple[int, int]:
    if on_face and torch.rand(()) < 0.7:
        return 16 * int(torch.randint(2, 4, ())), 32
    return 16 * int(torch.randint(0, 4, ())), 16 * int(torch.randint(0, 5, ()))


def _cut(x: Tensor, top: int, left: int, stride: int = 1) -> Tensor:
    rows, cols = CROP[0] // stride, CROP[1] // stride
    y, x0 = top // stride, left // stride
    return x[..., y : y + rows, x0 : x0 + cols].contiguous(memory_format=torch.channels_last)


def _disturb(latents: Tensor) -> Tensor:
    """Noise that the student's errors will resemble, so that the decoder forgives them."""
    motion, learned = latents.split([8, latents.shape[1] - 8], 1)
    strength = LEARNED_NOISE * torch.rand(len(latents), 1, 1, 1)
    motion = motion + MOTION_NOISE * torch.randn_like(motion)
    return torch.cat([motion, learned + strength * torch.randn_like(learned)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train/autoencoder"))
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    index = load_index(args.data)
    looks = load_looks(args.data, index)
    train = Batches(Clips(args.data, "train", index, looks), looks)
    test = Batches(Clips(args.data, "test", index, looks), looks)
    model = Autoencoder().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    trainer = Trainer(model, LoopConfig(args.steps, 2e-3), args.out, args.seed)
    trainer.resume()
    trainer.run(train.losses, test.evaluate, evaluate_every=500)
    torch.save(trainer.averaged.state_dict(), args.out / "autoencoder.pt")


if __name__ == "__main__":
    main()
