"""Make the quality bench's evaluation set from rendered clips: `python -m training.measures`.

The networks learn on training clips; how well they read held-out ones is stored with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.models.pocket.evaluation.evaluation_set import (
    EXPRESSION_FRAMES,
    SET,
    QualitySet,
    SetClip,
    SetLook,
)
from rollcast.models.pocket.evaluation.readers import ExpressionReader, FrameReader, MouthMeter
from rollcast.models.pocket.evaluation.signals import (
    agreement,
    best_lag,
    find,
    motion,
    patch,
    sharpness,
    to_signed,
)

from .clips import load_index
from .data.stills import cut_faces, load_stills, render_stills
from .expressions import train_expressions

BATCH = 48
_EVERY = 6  # of a training clip's frames, one in so many is learnt from
_SHOWN, _ABSENT = 0.6, 0.1
_FEWER = 15  # there are fewer stills of each stranger by this, as there are many strangers
_LONGER = 5 / 3  # expressions take more steps than the other networks
_NOSE = 0
_CLOSED, _OPEN = 0.1, 0.9

Clip = dict[str, Any]


def load(folder: Path, split: str, looks: list[str], every: int) -> list[Clip]:
    """Clips of pictures, one frame in `every`, with the number of their look."""
    clips = []
    for k, name in enumerate(looks):
        for path in sorted(folder.glob(f"{split}_{name}_*.npz")):
            with np.load(path) as file:
                keys = [key for key in file.files if not key.startswith(("flow", "fine", "open"))]
                clip: Clip = {key: file[key] for key in keys}
            clip["frames"], clip["look"] = clip["frames"][::every], k
            clips.append(clip)
    return clips


def learn(
    net: nn.Module, frames: Tensor, loss: Callable[[Tensor, Tensor], Tensor], steps: int
) -> None:
    """Train on frames uint8 [N, H, W, 3] that are softened, darkened and made noisy."""
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, 2 * (1 - step / steps))
        rows = torch.randint(len(frames), (BATCH,))
        seen = to_signed(frames[rows])
        if step % 2:
            seen = F.interpolate(F.avg_pool2d(seen, 2), scale_factor=2.0)
        light = 1 + 0.1 * torch.randn(BATCH, 1, 1, 1)
        seen = seen * light + 0.04 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(seen)
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(net(seen).float(), rows)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    net.eval().requires_grad_(False)


def mood_rows(clips: list[Clip], every: int) -> tuple[Tensor, Tensor]:
    """Expression of every frame, and which frames show theirs clearly."""
    moods, clear = [], []
    for clip in clips:
        level = clip["level"][::every]
        strong = (level > _SHOWN) & (int(clip["expression"]) > 0)
        moods.append(np.where(strong, int(clip["expression"]), 0))
        clear.append(strong | (level < _ABSENT) | (int(clip["expression"]) == 0))
    return torch.from_numpy(np.concatenate(moods)), torch.from_numpy(np.concatenate(clear))


def learn_moods(
    index: dict[str, Any], args: argparse.Namespace, clips: list[Clip]
) -> ExpressionReader:
    """The reader of expressions, from stills, which are rendered if missing, and clips."""
    counts = {
        entry["name"]: args.stills if entry["ships"] else max(1, args.stills // _FEWER)
        for entry in index["looks"]
        if entry["kind"] == "avatar" and not entry["brought"]
    }
    folder = args.data / "stills"
    render_stills(folder, counts, args.threads)
    faces, shown = load_stills(folder, list(counts))
    mood, clear = mood_rows(clips, _EVERY)
    seen = cut_faces(np.concatenate([clip["frames"] for clip in clips]))
    faces, shown = torch.cat([faces, seen[clear]]), torch.cat([shown, mood[clear]])
    return train_expressions(faces, shown, len(index["expressions"]), round(_LONGER * args.steps))


def describe(index: dict[str, Any], size: int) -> list[SetLook]:
    """The looks, with what can be dragged; statistics come later."""
    looks = []
    for entry in index["looks"]:
        if not entry["ships"]:
            continue
        if entry["kind"] == "avatar":
            spots = [(*entry["track_ref"][_NOSE], 0.0)]
        else:
            spots = [(*thing["home"], thing["radius_px"]) for thing in entry["things"]]
        far = next((t["pan"] for t in entry.get("things", []) if "pan" in t), None)
        pan = None if far is None else (far[0] / size, far[1] / size)
        points = tuple((x / size, y / size, r / size) for x, y, r in spots)
        who = entry.get("identity", entry["name"])
        attributes = tuple(entry["attributes"])
        kind = entry["kind"]
        looks.append(SetLook(entry["name"], kind, who, attributes, points, pan=pan))
    return looks


def liveliness(folder: Path, look: str) -> float:
    """How much frames of a look change, over all its clips without expression.

    Whether these were learnt from does not matter, their number does: heads turn seldom.
    """
    moved = []
    for split in ("train", "said"):
        for path in sorted(folder.glob(f"{split}_{look}_*.npz")):
            with np.load(path) as clip:
                if int(clip["expression"]) == 0:
                    moved.append(motion(to_signed(clip["frames"])))
    return float(np.mean(moved))


def with_statistics(look: SetLook, clips: list[Clip], mouth: MouthMeter, moved: float) -> SetLook:
    """`look` with what its held-out frames are like; those of faces are without expression."""
    frames = [to_signed(clip["frames"]) for clip in clips]
    both = np.mean([sharpness(f) for f in frames], 0)
    known = {
        "sharpness": float(both[0]),
        "mouth_sharpness": float(both[1]),
        "motion": moved,
    }
    if look.is_avatar:
        read = torch.cat([mouth(f) for f in frames])
        gap = torch.from_numpy(np.concatenate([clip["lip_gap"] for clip in clips]))
        low, high = gap.quantile(_CLOSED), gap.quantile(_OPEN)
        known["closed"] = float(read[gap <= low].mean())
        known["opened"] = float(read[gap >= high].mean())
    return replace(look, **known)


@torch.no_grad()
def validate(made: QualitySet, clips: list[Clip]) -> dict[str, float]:
    """What each measure says of real, held-out frames, and of frames that were spoilt."""
    faces = [clip for clip in clips if made.looks[clip["look"]].is_avatar]
    pictures = [to_signed(clip["frames"]) for clip in faces]
    read = [made.mouth(frames) for frames in pictures]
    gaps = [torch.from_numpy(clip["lip_gap"]) for clip in faces]
    scores = [agreement(a, b) for a, b in zip(read, gaps, strict=True)]
    late = [(F.pad(a, (2, 0))[: len(a)], b) for a, b in zip(read, gaps, strict=True)]
    named = [made.faces(to_signed(c["frames"][::5])).argmax(1) == c["look"] for c in clips]
    told, shown = _expressions(made, faces)
    soft = F.avg_pool2d(pictures[0], 3, 1, 1)
    return {
        "mouth_gap": float(np.mean(scores)),
        "mouth_gap_worst": float(np.min(scores)),
        "look": float(torch.cat(named).float().mean()),
        "expression": float((told == shown).float().mean()),
        "expression_when_shown": float((told == shown)[shown > 0].float().mean()),
        "track_finder_within_2_percent": _finder(made, clips),
        "lag_of_two_frames_reads": float(best_lag(late)),
        "blurred_sharpness_reads": sharpness(soft)[0] / sharpness(pictures[0])[0],
        "frozen_dynamics_reads": motion(pictures[0][:1].expand_as(pictures[0])),
    }


def _expressions(made: QualitySet, clips: list[Clip]) -> tuple[Tensor, Tensor]:
    """What is read from frames in a row, and what all of them clearly show."""
    told, shown = [], []
    for clip in clips:
        mood, clear = mood_rows([clip], 1)
        for start in range(0, len(mood) - EXPRESSION_FRAMES + 1, EXPRESSION_FRAMES // 2):
            row = slice(start, start + EXPRESSION_FRAMES)
            if clear[row].all() and (mood[row] == mood[start]).all():
                told.append(made.expression(to_signed(clip["frames"][row])))
                shown.append(int(mood[start]))
    return torch.tensor(told), torch.tensor(shown)


def _finder(made: QualitySet, clips: list[Clip]) -> float:
    """How often a thing's template, cut from a clip's first frame, is found where it really is."""
    hits = []
    for clip in clips:
        look = made.looks[clip["look"]]
        if look.is_avatar:
            continue
        width = clip["frames"].shape[2]
        frames = to_signed(clip["frames"])
        for k, (_, _, radius) in enumerate(look.points):
            row = int(np.flatnonzero(clip["track_object"] == k)[0])
            path = clip["tracks"][:, row] / width
            seen = clip["track_vis"][:, row]
            template = patch(frames[0], tuple(path[0]), max(0.04, 0.7 * radius))
            if template.shape[1] != template.shape[2] or not seen[0]:
                continue
            offset = np.array(find(frames[0], template)) - path[0]
            for t in np.flatnonzero(seen)[10::30]:
                where = np.array(find(frames[t], template)) - offset
                hits.append(np.hypot(*(where - path[t])) < 0.02)
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train/measures"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stills", type=int, default=60, help="of every look and expression")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(5)
    index = load_index(args.data)
    size = index["size"][0]
    looks = describe(index, size)
    names = [look.name for look in looks]
    train = load(args.data, "train", names, _EVERY)
    everything = torch.from_numpy(np.concatenate([clip["frames"] for clip in train]))
    which = torch.cat([torch.full((len(c["frames"]),), c["look"]) for c in train])
    spoken = [clip for clip in train if looks[clip["look"]].is_avatar]
    frames = torch.from_numpy(np.concatenate([clip["frames"] for clip in spoken]))
    gap = torch.from_numpy(np.concatenate([clip["lip_gap"][::_EVERY] for clip in spoken]))
    gap = (gap - gap.mean()) / gap.std()
    mouth, faces = MouthMeter(), FrameReader(len(looks))
    learn(mouth, frames, lambda out, rows: F.smooth_l1_loss(out, gap[rows]), args.steps)
    learn(faces, everything, lambda out, rows: F.cross_entropy(out, which[rows]), args.steps // 2)
    moods = learn_moods(index, args, spoken)
    test, said = load(args.data, "test", names, 1), load(args.data, "said", names, 1)
    looks = [
        with_statistics(
            look,
            [c for c in (said if look.is_avatar else test) if c["look"] == k],
            mouth,
            liveliness(args.data, look.name),
        )
        for k, look in enumerate(looks)
    ]
    foreign = load(args.data, "foreign", names, 1)
    clips = [
        SetClip(
            clip["look"],
            clip["audio"],
            torch.from_numpy(clip["lip_gap"]),
            float(mouth(to_signed(clip["frames"])).std()),
            str(clip["language"]),
            bool(clip["known_voice"]),
        )
        for clip in said + foreign
    ]
    shown = tuple(index["expressions"])
    made = QualitySet(size, tuple(looks), shown, tuple(clips), mouth, faces, moods, {})
    made = replace(made, measures=validate(made, test))
    args.out.mkdir(parents=True, exist_ok=True)
    made.save(args.out / SET.name)
    print(made.measures)  # noqa: T201


if __name__ == "__main__":
    main()
