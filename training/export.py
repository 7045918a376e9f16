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
from safetensors.torch import save_file
from torch import Tensor

from rollcast.models.pocket.manifest import FORMAT
from rollcast.models.pocket.model import ASSETS

from .clips import Clips, Look, load_index, load_looks
from .sequences import References
from .student import load_autoencoder
from .vocabulary import FILLERS, build_vocabulary

TITLE = "Pocket: six people and two scenes"
PRESETS = (
    "an old man with glasses",
    "a woman with curly hair and a purple jacket",
    "a bearded man on stage",
    "a blonde woman in red",
    "a man at the news desk",
    "a woman in stripes",
    "toys on a table",
    "fish in the sea",
)


# The student shows about three quarters of the opening it is told; what is heard is lifted by this.
OPENING_GAIN = 1.35


def collect_weights(parts: Path, looks: list[Look]) -> dict[str, Tensor]:
    """All tensors that a stream needs, float16."""
    student = torch.load(parts / "student/student.pt", weights_only=True)
    autoencoder = load_autoencoder(parts / "autoencoder/autoencoder.pt")
    visemes = torch.load(parts / "visemes/visemes.pt", weights_only=True)
    tensors: dict[str, Tensor] = dict(student["student"])
    tensors |= {f"decoder.{k}": t for k, t in autoencoder.decoder.state_dict().items()}
    visemes = {k: OPENING_GAIN * t if k.startswith("leave.") else t for k, t in visemes.items()}
    tensors |= {f"visemes.{k}": t for k, t in visemes.items()}
    tensors["latent.mean"], tensors["latent.spread"] = student["mean"], student["spread"]
    tensors["latent.references"] = References(autoencoder, looks, None).raw_latent
    return {name: t.half().contiguous() for name, t in tensors.items()}


def drag_gain(clips: Clips, looks: Sequence[Look]) -> tuple[float, float]:
    """Pixels that a point in the middle of a face moves per radian of yaw and of pitch."""
    moved, turned = [], []
    for n in range(len(clips)):
        if not looks[int(clips.look[n])].is_avatar:
            continue
        offset = clips.tracks[n] - clips.track_ref[n]
        central = np.abs(clips.track_ref[n] - clips.track_ref[n].mean(0)).max(1) < 22
        moved.append(offset[:, central].mean(1))
        turned.append(clips.pose[n, :, :2].numpy())
    pixels, radians = np.concatenate(moved), np.concatenate(turned)
    one = np.ones((len(radians), 1))
    gain = [
        float(np.linalg.lstsq(np.concatenate([radians, one], 1), pixels[:, axis])[0][axis])
        for axis in (0, 1)
    ]
    return gain[0], gain[1]


def look_entries(index: Mapping[str, Any], looks: Sequence[Look]) -> list[dict[str, Any]]:
    """The manifest's looks."""
    return [
        {
            "name": entry["name"],
            "title": entry["title"],
            "kind": entry["kind"],
            "reference": f"looks/{entry['name']}.png",
            "plate": f"looks/{entry['name']}-plate.png",
            "tokens": sorted(look.tokens),
            "scale": look.scale,
            "objects": [
                {"name": t["word"], "home": t["home"], "radius": t["radius_px"]}
                for t in entry.get("things", [])
            ],
        }
        for entry, look in zip(index["looks"], looks, strict=True)
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
    for entry in index["looks"]:
        for key, suffix in (("reference", ""), ("plate", "-plate")):
            shutil.copy(args.data / entry[key], args.out / f"looks/{entry['name']}{suffix}.png")
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
    save_file(collect_weights(args.parts, looks), args.out / "pocket.safetensors")


if __name__ == "__main__":
    main()
