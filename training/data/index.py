"""index.json: what is in a data set, for the trainers and for prompts."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from training.brought import as_brought
from training.data.behaviour import EXPRESSIONS
from training.data.clips import portrait, scene
from training.data.head import TRACK_NAMES
from training.data.identities import IDENTITIES, Identity, Outfit
from training.data.languages import LANGUAGES
from training.data.plan import BASE_SEED, VERSION, Preset, plan
from training.data.portrait import SIZE, Portrait
from training.data.scenes import SCENES, SceneSpec
from training.data.strangers import stranger
from training.data.visemes import CHANNELS, FRAME_HZ
from training.data.visitors import visitor
from training.data.voices import TEST_ESPEAK, TEST_FLITE, TRAIN_ESPEAK, TRAIN_FLITE, voices_of


def write_index(folder: Path, preset: Preset) -> None:
    """Write reference pictures and index.json into a data set's folder."""
    for kind in ("reference", "open", "plate"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    people = [(who, look) for who in IDENTITIES for look in who.outfits]
    shown = [(who, look) for who, look in people if look.name in preset.looks]
    others = [stranger(k) for k in range(preset.strangers)]
    others += [visitor(k) for k in range(preset.visitors)]
    entries = [
        *(partial(_avatar_entry, who, look) for who, look in shown),
        *(partial(scene_entry, spec) for spec in SCENES if spec.name in preset.scenes),
        *(partial(_avatar_entry, who, who.outfits[0]) for who in others),
    ]
    looks = []
    for make in entries:
        # drawn at once: few renderers are kept, and one takes a second to begin
        looks.append(make())
        _draw_pictures(folder, looks[-1])
    (folder / "index.json").write_text(json.dumps(_index(preset, looks), indent=1) + "\n")


def _draw_pictures(folder: Path, entry: dict[str, Any]) -> None:
    name = entry["name"]
    renderer = portrait(name) if entry["kind"] == "avatar" else scene(name)
    Image.fromarray(renderer.plate_image()).save(folder / entry["plate"])
    reference = renderer.reference_image()
    if isinstance(renderer, Portrait):
        opened = renderer.open_image()
        if renderer.who.photograph is not None:
            reference, opened = as_brought(renderer.photograph())
        Image.fromarray(opened).save(folder / entry["open"])
    Image.fromarray(reference).save(folder / entry["reference"])


def _index(preset: Preset, looks: list[dict[str, Any]]) -> dict[str, Any]:
    jobs = plan(preset)
    counts = {f"{k}_{s}": sum(j.kind == k and j.split == s for j in jobs)
              for k in ("avatar", "scene", "audio") for s in ("train", "test", "said")}  # fmt: skip
    return {
        "version": VERSION,
        "preset": preset.name,
        "seed": BASE_SEED,
        "fps": FRAME_HZ,
        "sample_rate": 16000,
        "size": [SIZE, SIZE],
        "frames_per_clip": preset.frames,
        "clips": counts,
        "looks": looks,
        "expressions": list(EXPRESSIONS),
        "visemes": list(CHANNELS),
        "pose": ["yaw", "pitch", "roll", "gaze_x", "gaze_y"],
        "track_names": list(TRACK_NAMES),
        "voices": {
            "train": [f"flite:{v}" for v in TRAIN_FLITE] + [f"espeak:{v}" for v in TRAIN_ESPEAK],
            "test": [f"flite:{v}" for v in TEST_FLITE] + [f"espeak:{v}" for v in TEST_ESPEAK],
            **{
                f"{split}_{code}": [f"espeak:{v}" for v in voices_of(code, split)]
                for code in LANGUAGES
                for split in ("train", "test")
            },
        },
        "units": {
            "pose": "radians; yaw to the right of the picture, pitch down, gaze seen from the head",
            "flow": "px to the reference picture (x, y): reference point minus pixel",
            "tracks": "px (x, y)",
            "lip_gap": "px between the middle of the lips, head unturned",
        },
        "scales": {"pose": [0.25, 0.1, 0.08, 0.2, 0.12], "flow_px": 8.0, "lip_gap_px": 4.0},
    }


def _avatar_entry(who: Identity, look: Outfit) -> dict[str, Any]:
    details = who.words | look.words
    entry = {
        "name": look.name,
        "title": look.title,
        "kind": "avatar",
        "identity": who.name,
        "ships": bool(details),
        "brought": who.photograph is not None,
        "reference": f"reference/{look.name}.png",
        "open": f"open/{look.name}.png",
        "plate": f"plate/{look.name}.png",
        "track_ref": portrait(look.name).reference_tracks().round(2).tolist(),
    }
    if not details:
        return entry | {"attributes": [], "details": {}}
    colour, length = details["hair_colour"].replace(" ", "-"), details["hair_length"]
    words = [details["gender"], details["age"], f"{details['skin'].replace(' ', '-')}-skin"]
    words += [f"{colour}-hair", f"{length}-hair"]
    words += [extra for extra in ("glasses", "beard") if details[extra] == "yes"]
    words += [f"{details['clothes'].replace(' ', '-')}-clothes"]
    words += [f"{details['background'].replace(' ', '-')}-background"]
    return entry | {"attributes": [who.name, *words], "details": details}


def scene_entry(spec: SceneSpec) -> dict[str, Any]:
    """A scene's entry; the view of one whose camera pans is the last of its things."""
    things = [{"name": t.sprite, "word": t.word, "colour": t.colour, "radius_px": t.radius,
               "home": list(t.home)} for t in spec.things]  # fmt: skip
    words = [spec.name, *spec.words.values(), *(t.word for t in spec.things)]
    if (view := spec.view) is not None:
        things.append({"name": view.word, "word": view.word, "radius_px": view.radius,
                       "home": list(view.home), "pan": list(view.pan)})  # fmt: skip
    return {
        "name": spec.name,
        "title": spec.title,
        "kind": "scene",
        "ships": True,
        "brought": False,
        "reference": f"reference/{spec.name}.png",
        "plate": f"plate/{spec.name}.png",
        "attributes": list(dict.fromkeys(words)),
        "details": spec.words,
        "things": things,
        "track_ref": scene(spec.name).reference_tracks().round(2).tolist(),
    }
