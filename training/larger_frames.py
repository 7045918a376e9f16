"""How sharp frames of 256 pixels are: `python -m training.larger_frames`.

Held-out frames of looks that ship are rendered at twice the size of a frame and averaged down to
256 x 256. They are encoded as training does, and decoded at 256 pixels, or at 192 and enlarged as
browsers do. Each is compared with the render: PSNR, which forgives blur and no edge that stands a
pixel aside, and Laplacian energy, which tells how sharp it is; of the whole and of the mouth.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from rollcast.models.pocket.autoencoder import FRAME_SIZE
from rollcast.models.pocket.evaluation.signals import laplacian_energy
from rollcast.models.pocket.looks import Look, LookEncoder, LookPictures
from rollcast.models.pocket.manifest import Manifest
from rollcast.models.pocket.model import ASSETS

from .data.behaviour import behave
from .data.clips import portrait
from .data.speech import loudness, speech_clip
from .losses import MOUTH_BOX, psnr

SIZE = 256
EVERY = 8
FRAMES = 100
ROWS = ("bilinear", "bicubic", f"{SIZE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["freya-studio", "kofi-news", "mei-gallery", "oscar-library"]
    parser.add_argument("--looks", nargs="+", default=names)
    parser.add_argument("--seed", type=int, default=99)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = torch.cat([compared(name, args.seed) for name in args.looks]).mean(0)
    print("decoded as       PSNR  of mouths  sharpness  of mouths")  # noqa: T201
    for row, values in zip(ROWS, found.tolist(), strict=True):
        print("{:12s} {:8.2f} {:10.2f} {:10.2f} {:10.2f}".format(row, *values))  # noqa: T201


@torch.no_grad()
def compared(name: str, seed: int) -> Tensor:
    """Frames of a look [n, 3, 4]: for each of `ROWS` two PSNR and two shares of sharpness."""
    weights = load_file(ASSETS / "pocket.safetensors")
    weights = {key: tensor.float() for key, tensor in weights.items()}
    entry = next(e for e in Manifest.read(ASSETS / "manifest.json").looks if e.name == name)
    pictures = LookPictures.read(ASSETS, entry)
    small, large = (LookEncoder.of(weights, size) for size in (FRAME_SIZE, SIZE))
    looks = small.look(entry, pictures), large.look(entry, pictures)
    renderer = portrait(name)
    chance = np.random.default_rng([seed, *name.encode()])
    speech = speech_clip(chance, FRAMES, "test", 0.0)
    acting = behave(chance, loudness(speech.audio), 0)
    rows = []
    for t in range(EVERY, FRAMES, EVERY):
        seen = acting.weights(t, speech.visemes[t]), acting.pose[t]
        frame = renderer.render(*seen)
        flows = [torch.from_numpy(flow).float()[None] for flow in (frame.flow, frame.open_flow)]
        real = _signed(frame.pixels)
        latents = small.encoder(real, looks[0].features, *flows, looks[0].scale)
        usual, larger = (
            _decoded(*pair, latents) for pair in zip((small, large), looks, strict=True)
        )
        shape = (SIZE, SIZE)
        shown = [*(F.interpolate(usual, shape, mode=mode) for mode in ROWS[:2]), larger]
        truth = F.interpolate(_signed(renderer.large_picture(*seen)), shape, mode="area")
        mouth = _box(frame.boxes[0])
        rows.append([_measured(each.clamp(-1, 1), truth, mouth) for each in shown])
    return torch.tensor(rows)


def _decoded(encoder: LookEncoder, look: Look, latents: Tensor) -> Tensor:
    made = encoder.frame_decoder(latents, look.features, look.scale, look.plate)
    return _signed(made[0].numpy())


def _box(centre: np.ndarray) -> tuple[Any, ...]:
    x, y = (round(float(each) * SIZE / FRAME_SIZE) for each in centre)
    across, down = (each * SIZE // FRAME_SIZE for each in MOUTH_BOX)
    return ..., slice(y - down, y + down), slice(x - across, x + across)


def _measured(made: Tensor, truth: Tensor, mouth: tuple[Any, ...]) -> list[float]:
    parts = (made, truth), (made[mouth], truth[mouth])
    errors = [psnr((a - b).square().mean()) for a, b in parts]
    sharpness = [[float(laplacian_energy(x).mean()) for x in part] for part in parts]
    return errors + [a / b for a, b in sharpness]


def _signed(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


if __name__ == "__main__":
    main()
