"""Train the pocket autoencoder: `python -m training.autoencoder`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from rollcast.models.pocket.autoencoder import (
    GIVEN_CHANNELS,
    LATENT_SIZE,
    WHOLE_FRAME,
    FrameEncoder,
    WarpDecoder,
    Window,
)
from rollcast.models.pocket.evaluation.signals import laplacian_energy, to_signed

from .clips import Clips, Look, load_index, load_looks, pictures_of
from .loop import LoopConfig, Losses, Trainer
from .losses import EYE_BOX, MOUTH_BOX, box_mask, choice_loss, focus, picture_loss, psnr, shut_loss
from .tint import Tint

# rows and columns of latent cells; a scene is seen whole, its things come from anywhere
CROP = (5, 4)
BATCH, SCENE_BATCH = 16, 5
SCENE_EVERY = 4
LOOKS_PER_BATCH = 4
# how often a look must do without its plate, as what somebody brings must
FLAT = 0.25
# of the looks of a batch, how many ship: the others are more, and are none of those that are shown
SHIPPING = 2
CHOICE = 0.03
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
        self.pictures = pictures_of(looks)
        self.scales = torch.tensor([look.scale for look in looks])
        self.is_avatar = torch.tensor([look.is_avatar for look in looks])
        self.brought = torch.tensor([look.brought for look in looks])
        ships = torch.tensor([look.ships for look in looks])
        self.by_look = [(clips.look == k).nonzero()[:, 0] for k in range(len(looks))]
        present = torch.tensor([len(rows) > 0 for rows in self.by_look])
        self.shipping = (self.is_avatar & present & ships).nonzero()[:, 0]
        self.others = (self.is_avatar & present & ~ships).nonzero()[:, 0]
        self.scenes = (~self.is_avatar & present).nonzero()[:, 0]

    def losses(self, model: nn.Module, step: int) -> Losses:
        """One batch's losses of an `Autoencoder`."""
        assert isinstance(model, Autoencoder)
        clips = self.clips
        is_scene = len(self.scenes) > 0 and step % SCENE_EVERY == 0
        if is_scene:
            looks = _some(self.scenes, LOOKS_PER_BATCH)
        else:
            others = _some(self.others, LOOKS_PER_BATCH - SHIPPING)
            looks = torch.cat([others, _some(self.shipping, LOOKS_PER_BATCH - len(others))])
        flat = torch.zeros(len(looks), dtype=torch.bool)
        if not is_scene:
            flat = (torch.rand(len(looks)) < FLAT) | self.brought[looks]
        pictures = self.pictures.select(looks + flat * len(self.scales))
        tint = Tint.random(flat)
        tinted = {"reference": tint(pictures.reference), "opened": tint(pictures.opened)}
        pictures = pictures._replace(**tinted)
        features = model.decoder.encode_reference(pictures)
        pick = torch.randint(len(looks), (SCENE_BATCH if is_scene else BATCH,))
        clip = torch.stack(
            [self.by_look[looks[k]][torch.randint(len(self.by_look[looks[k]]), ())] for k in pick]
        )
        time = torch.randint(clips.length, (len(pick),))
        look = looks[pick]
        window = WHOLE_FRAME if is_scene else _window()
        real = tint.select(pick)(to_signed(clips.frames[clip, time]))
        weight = focus(real, clips.boxes[clip, time], self.is_avatar[look])
        real, weight = _cut(real, window), _cut(weight, window)
        reference = features.select(pick)
        scale = self.scales[look]
        truth = clips.motion(clip, time)
        flow, open_flow = _cut(truth.flow, window), _cut(truth.open_flow, window)
        latents = model.encoder(real, reference, flow, open_flow, scale, window)
        made = model.decoder(_disturb(latents), reference, scale, window)
        seen = [_cut(shown[:, None], window) for shown in (truth.fine_known, truth.open_known)]
        miss = self._flow_error(made.flow, truth.fine, truth.fine_known, window, scale)
        miss = miss + self._flow_error(
            made.open_flow, truth.open_fine, truth.open_known, window, scale
        )
        return {
            "picture": picture_loss(real, made.frames.float(), weight),
            "flow": 0.12 * miss,
            "choice": CHOICE * choice_loss(made.choice, *seen),
            "shut": shut_loss(made.choice),
            "size": 2e-3 * latents[:, GIVEN_CHANNELS:].float().square().mean(),
        }

    def _flow_error(
        self, drawn: Tensor, fine: Tensor, known: Tensor, window: Window, scale: Tensor
    ) -> Tensor:
        target = _cut(fine.float().movedim(-1, 1), window)
        seen = _cut(known[:, None].float(), window)
        return ((drawn - target).abs() * seen / scale[:, None, None, None]).mean()

    def reconstruct(
        self, model: Autoencoder, clip: Tensor, time: Tensor, *, flat: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Real and reconstructed frames [n, 3, 192, 192]; `flat` without plates."""
        look, clips = self.clips.look[clip], self.clips
        real = to_signed(clips.frames[clip, time])
        made = torch.empty_like(real)
        for k in look.unique().tolist():
            rows = (look == k).nonzero()[:, 0]
            row = k + flat * len(self.scales)
            pictures = self.pictures.select(slice(row, row + 1))
            reference = model.decoder.encode_reference(pictures).expand(len(rows))
            where, when = clip[rows], time[rows]
            scale = self.scales[look[rows]]
            truth = clips.motion(where, when)
            latents = model.encoder(real[rows], reference, truth.flow, truth.open_flow, scale)
            made[rows] = model.decoder(latents, reference, scale).frames.clamp(-1, 1)
        return real, made

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Held-out quality: PSNR and sharpness, whole and mouth, worst look included."""
        assert isinstance(model, Autoencoder)
        clip = torch.arange(len(self.clips)).repeat_interleave(4)
        time = torch.linspace(7, self.clips.length - 5, 4).long().repeat(len(self.clips))
        boxes, look = self.clips.boxes[clip, time], self.clips.look[clip]
        real, made = self.reconstruct(model, clip, time)
        report = quality(real, made, boxes, look, self.is_avatar)
        face = self.is_avatar[look].nonzero()[:, 0]
        real, made = self.reconstruct(model, clip[face], time[face], flat=True)
        flat = quality(real, made, boxes[face], look[face], self.is_avatar)
        names = ("psnr", "psnr_mouth", "sharp_mouth")
        return report | {f"flat_{name}": flat[name] for name in names}


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


def _some(rows: Tensor, count: int) -> Tensor:
    return rows[torch.randperm(len(rows))[:count]]


def _window() -> Window:
    """A part of a portrait, more often than not on the face."""
    rows, columns = CROP
    if torch.rand(()) < 0.7:
        return Window(int(torch.randint(2, 4, ())), 2, rows, columns)
    top = int(torch.randint(LATENT_SIZE - rows + 1, ()))
    return Window(top, int(torch.randint(LATENT_SIZE - columns + 1, ())), rows, columns)


def _cut(x: Tensor, window: Window) -> Tensor:
    """The window of a whole map [B, C, s, s]."""
    step = x.shape[-1] // LATENT_SIZE
    top, left = window.top * step, window.left * step
    part = x[..., top : top + window.rows * step, left : left + window.columns * step]
    return part.contiguous(memory_format=torch.channels_last)


def _disturb(latents: Tensor) -> Tensor:
    """Noise that the student's errors will resemble, so that the decoder forgives them."""
    motion, learned = latents.split([GIVEN_CHANNELS, latents.shape[1] - GIVEN_CHANNELS], 1)
    strength = LEARNED_NOISE * torch.rand(len(latents), 1, 1, 1)
    motion = motion + MOTION_NOISE * torch.randn_like(motion)
    return torch.cat([motion, learned + strength * torch.randn_like(learned)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train/autoencoder"))
    parser.add_argument("--steps", type=int, default=5000)
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
