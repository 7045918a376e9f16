"""Real frames over generated ones of every look, for judging by eye: `python -m training.sheet`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rollcast.models.pocket.evaluation.signals import MOUTH_COLUMNS, MOUTH_ROWS, to_signed
from rollcast.models.pocket.evaluation.watch import Watch
from rollcast.models.pocket.model import ASSETS, PocketModel

from .clips import Clips, load_index, load_looks

_COLUMNS = 12


@torch.inference_mode()
def draw_sheets(model: PocketModel, clips: Clips, names: list[str]) -> tuple[Tensor, Tensor]:
    """Two pictures in -1..1 [3, H, W]: whole frames, and the mouths of avatars, enlarged.

    Avatars say held-out speech, scenes idle; what is real turns and blinks otherwise.
    """
    watch, rows, mouths = Watch(model), [], []
    times = torch.linspace(0.08, 0.8, _COLUMNS).mul(clips.length).long()
    for look, name in enumerate(names):
        clip = int((clips.look == look).nonzero()[0, 0])
        audio = clips.audio[clip]
        said = np.zeros(64_000, np.int16) if audio is None else audio
        made = watch.speak(name, said)[: clips.length]
        real = to_signed(clips.frames[clip])
        for frames in (real[times], made[times]):
            rows.append(torch.cat(list(frames), 2))
            if audio is not None:
                mouths.append(torch.cat(list(_mouths(frames)), 2))
    return torch.cat(rows, 1), torch.cat(mouths, 1)


def _mouths(frames: Tensor) -> Tensor:
    height, width = frames.shape[-2:]
    rows = slice(*(round(share * height) for share in MOUTH_ROWS))
    columns = slice(*(round(share * width) for share in MOUTH_COLUMNS))
    return frames[..., rows, columns].repeat_interleave(2, 2).repeat_interleave(2, 3)


def _save(picture: Tensor, path: Path) -> None:
    pixels = picture.clamp(-1, 1).add(1).mul(127.5).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train"))
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    index = load_index(args.data)
    looks = load_looks(args.data, index)
    names = [look.name for look in looks if look.ships]
    whole, mouths = draw_sheets(
        PocketModel(args.assets), Clips(args.data, "test", index, looks), names
    )
    _save(whole, args.out / "sheet.png")
    _save(mouths, args.out / "mouths.png")


if __name__ == "__main__":
    main()
