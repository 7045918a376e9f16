"""Put the trained parts together as the model that ships: `python -m training.export`."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rollcast.models.pocket.evaluation.evaluation_set import SET
from rollcast.models.pocket.manifest import FORMAT
from rollcast.models.pocket.model import ASSETS
from rollcast.models.wan.weights import write_weights

from .clips import Clips, Look, load_index, load_looks, second_picture
from .opening import make_opening
from .student import load_autoencoder
from .vocabulary import FILLERS, build_vocabulary

TITLE = "Pocket: eight people and four scenes"
PRESETS = (
    "an old man with glasses",
    "a woman with curly hair and a purple jacket",
    "a bearded man on stage",
    "a blonde woman in red",
    "a man at the news desk",
    "a woman in stripes",
    "toys on a table",
    "fish in the sea",
    "an elderly woman at the theatre",
    "a rocket in space",
    "a sheep in the meadow",
)


# The student shows less of an opening than it is told; what is heard is lifted by this.
OPENING_GAIN = 1.12


def collect_weights(parts: Path) -> dict[str, Tensor]:
    """All tensors that a stream needs, float16."""
    student = torch.load(parts / "student/student.pt", weights_only=True)
    encoder = load_autoencoder(parts / "autoencoder/autoencoder.pt").encoder.state_dict()
    visemes = torch.load(parts / "visemes/visemes.pt", weights_only=True)
    tensors: dict[str, Tensor] = dict(student["student"])
    decoder = torch.load(parts / "polish/decoder.pt", weights_only=True)
    tensors |= {f"decoder.{k}": t for k, t in decoder.items()}
    tensors |= {f"encoder.{k}": t for k, t in encoder.items()}
    visemes = {k: OPENING_GAIN * t if k.startswith("leave.") else t for k, t in visemes.items()}
    tensors |= {f"visemes.{k}": t for k, t in visemes.items()}
    tensors |= {f"opening.{k}": t for k, t in make_opening().tensors().items()}
    tensors["latent.mean"], tensors["latent.spread"] = student["mean"], student["spread"]
    return {name: t.half().contiguous() for name, t in tensors.items()}


def drag_gain(clips: Clips, looks: Sequence[Look]) -> tuple[float, float]:
    """Pixels that a point in the middle of a face moves per radian of yaw and of pitch."""
    moved, turned = [], []
    for n in range(len(clips)):
        if not looks[int(clips.look[n])].is_avatar:
            continue
        offset = clips.tracks[n] - clips.track_ref[n]
        central = np.abs(clips.track_ref[n] - clips.track_ref[n].mean(0)).max(1) < 33
        moved.append(offset[:, central].mean(1))
        turned.append(clips.pose[n, :, :2].numpy())
    pixels, radians = np.concatenate(moved), np.concatenate(turned)
    one = np.ones((len(radians), 1))
    gain = [
        float(np.linalg.lstsq(np.concatenate([radians, one], 1), pixels[:, axis])[0][axis])
        for axis in (0, 1)
    ]
    return gain[0], gain[1]


def shipping(index: Mapping[str, Any], looks: Sequence[Look]) -> list[tuple[dict[str, Any], Look]]:
    """The looks that the model shows, in the index and in memory."""
    return [(e, k) for e, k in zip(index["looks"], looks, strict=True) if k.ships]


def picture_file(entry: Mapping[str, Any], key: str) -> str:
    """Where a look's picture is, relative to the manifest."""
    suffix = "" if key == "reference" else f"-{key}"
    return f"looks/{entry['name']}{suffix}.webp"


def look_entries(index: Mapping[str, Any], looks: Sequence[Look]) -> list[dict[str, Any]]:
    """The manifest's looks."""
    return [
        {
            "name": entry["name"],
            "title": entry["title"],
            "kind": entry["kind"],
            "reference": picture_file(entry, "reference"),
            "opened": picture_file(entry, second_picture(entry)),
            "plate": picture_file(entry, "plate"),
            "tokens": sorted(look.tokens),
            "scale": look.scale,
            "objects": [
                {"name": t["word"], "home": t["home"], "radius": t["radius_px"]}
                | ({"pan": t["pan"]} if "pan" in t else {})
                for t in entry.get("things", [])
            ],
        }
        for entry, look in shipping(index, looks)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    index = load_index(args.data)
    looks = load_looks(args.data, index)
    vocabulary, _ = build_vocabulary(index)
    (args.out / "looks").mkdir(parents=True, exist_ok=True)
    for entry, _ in shipping(index, looks):
        for key in ("reference", "open", "plate"):
            if key in entry:
                picture = Image.open(args.data / entry[key])
                # without loss: the matte is what differs between two of these pictures
                picture.save(args.out / picture_file(entry, key), lossless=True, method=6)
    manifest = {
        "format": FORMAT,
        "title": TITLE,
        "presets": PRESETS,
        "drag_gain": drag_gain(Clips(args.data, "test", index, looks), looks),
        "looks": look_entries(index, looks),
        "vocabulary": [
            {"name": t.name, "group": t.group, "words": t.words} for t in vocabulary.tokens
        ],
        "fillers": FILLERS,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (args.out / "manifest.json").write_text(text, encoding="utf-8")
    shutil.copy(args.parts / "measures" / SET.name, args.out / SET.name)
    write_weights(collect_weights(args.parts), args.out / "pocket.safetensors")


if __name__ == "__main__":
    main()
