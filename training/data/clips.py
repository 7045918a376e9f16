"""Rendering of one planned clip to arrays, and its file on disk."""

import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.assets import HeadAssets
from training.data.behaviour import EXPRESSIONS, behave
from training.data.head import HeadMesh, build_head
from training.data.identities import IDENTITIES, Identity
from training.data.plan import VERSION, Job
from training.data.portrait import Portrait
from training.data.scenes import SCENES, Scene, wander
from training.data.speech import SAMPLES_PER_FRAME, loudness, speech_clip
from training.data.strangers import stranger
from training.data.visemes import CHANNELS
from training.data.visitors import NAME, visitor

Arrays = dict[str, npt.NDArray[Any]]
FRAME_KEYS = ("frames", "flow", "fine", "fine_ok", "tracks", "track_vis")
OPEN_KEYS = ("open_flow", "open_fine", "open_fine_ok")
KEYS: dict[str, tuple[str, ...]] = {
    "avatar": (*FRAME_KEYS, "track_ref", "track_object", "visemes", "pose", "blink", "brow",
               "expression", "level", "lip_gap", "boxes", "audio", "version"),
    "audio": ("audio", "visemes", "version"),
}  # fmt: skip
KEYS["scene"] = KEYS["avatar"]
KEYS["avatar"] = (*KEYS["avatar"], *OPEN_KEYS)


@lru_cache(maxsize=1)
def _assets() -> HeadAssets:
    return HeadAssets.load()


@lru_cache(maxsize=8)
def _mesh(name: str) -> HeadMesh:
    return build_head(_assets(), person(name))


def person(look_name: str) -> Identity:
    """Who is shown by a look; ValueError when there is no such look."""
    if look_name.startswith("stranger-"):
        return stranger(int(look_name.removeprefix("stranger-")))
    if look_name.startswith(NAME):
        return visitor(int(look_name.removeprefix(NAME)))
    for who in IDENTITIES:
        if look_name in (who.name, *(look.name for look in who.outfits)):
            return who
    raise ValueError(f"unknown look {look_name!r}")


@lru_cache(maxsize=16)
def portrait(look_name: str) -> Portrait:
    """The renderer of a named look; ValueError when there is no such look."""
    who = person(look_name)
    look = next(look for look in who.outfits if look.name == look_name)
    return Portrait(_assets(), who, look, _mesh(who.name))


@lru_cache(maxsize=4)
def scene(name: str) -> Scene:
    """The renderer of a named scene; ValueError when there is no such scene."""
    for spec in SCENES:
        if spec.name == name:
            return Scene(spec)
    raise ValueError(f"unknown scene {name!r}")


def render_clip(job: Job) -> Arrays:
    """Render a clip; equal jobs give bit-equal arrays on one machine."""
    rng = np.random.default_rng(job.seed)
    made = {"avatar": _avatar_clip, "scene": _scene_clip, "audio": _audio_clip}[job.kind](job, rng)
    return made | {"version": np.array(VERSION)}


def _audio_clip(job: Job, rng: np.random.Generator) -> Arrays:
    clip = speech_clip(rng, job.frames, job.split, espeak_share=0.55, language=job.language)
    return {
        "audio": clip.audio,
        "visemes": clip.visemes,
        "voice": np.array(clip.voices),
        "text": np.array(clip.texts),
    }


def _avatar_clip(job: Job, rng: np.random.Generator) -> Arrays:
    espeak_share = 0.3 if job.split == "train" else 0.0
    spoken = "train" if job.split == "train" else "test"
    voices = "train" if knows_voice(job) else spoken
    speech = speech_clip(rng, job.frames, spoken, espeak_share, job.language, voices)
    acting = behave(rng, loudness(speech.audio), expression_of(job))
    renderer = portrait(job.look)
    frames = [
        renderer.render(acting.weights(t, speech.visemes[t]), acting.pose[t])
        for t in range(job.frames)
    ]
    points = renderer.reference_tracks()
    return _stack(frames) | {
        "track_ref": points,
        "track_object": np.zeros(len(points), np.int64),
        "visemes": speech.visemes,
        "pose": acting.pose,
        "blink": acting.blink,
        "brow": acting.brow,
        "expression": np.array(acting.expression, np.int64),
        "level": acting.level,
        "language": np.array(job.language),
        "known_voice": np.array(knows_voice(job)),
        "lip_gap": np.array([f.lip_gap for f in frames], np.float32),
        "boxes": np.stack([f.boxes for f in frames]).astype(np.float32),
        "audio": speech.audio,
        "voice": np.array(speech.voices),
        "text": np.array(speech.texts),
    }


def knows_voice(job: Job) -> bool:
    """Whether training has heard the voice; of the words of a held-out clip it has heard none."""
    return job.split == "train" or (job.split == "foreign" and job.number > 0)


def expression_of(job: Job) -> int:
    """Index into EXPRESSIONS: even training clips, `said` and `foreign` ones are neutral.

    The others take turns, and so does every other visitor.

    Ten clips of a look show every expression once: a look tells nothing of an expression, or
    networks would read the one from the other. The looks of a person begin at different ones.
    """
    if job.look.startswith(NAME):
        number = int(job.look.removeprefix(NAME))
        return 1 + number // 2 % (len(EXPRESSIONS) - 1) if number % 4 == 3 else 0
    if job.split in ("said", "foreign") or (job.split == "train" and job.number % 2 == 0):
        return 0
    if job.look.startswith("stranger-"):
        return 1 + (int(job.look.removeprefix("stranger-")) + job.number) % (len(EXPRESSIONS) - 1)
    names = [(k, n) for k, who in enumerate(IDENTITIES) for n in range(len(who.outfits))]
    looks = [look.name for who in IDENTITIES for look in who.outfits]
    person, outfit = names[looks.index(job.look)]
    turn = job.number // 2 if job.split == "train" else 4 + job.number
    return 1 + (person + 3 * outfit + turn) % (len(EXPRESSIONS) - 1)


def _scene_clip(job: Job, rng: np.random.Generator) -> Arrays:
    renderer = scene(job.look)
    positions, angles = wander(rng, renderer.spec, job.frames)
    frames = [renderer.render(positions[t], angles[t]) for t in range(job.frames)]
    zeros = np.zeros(job.frames, np.float32)
    return _stack(frames) | {
        "track_ref": renderer.reference_tracks(),
        "track_object": renderer.track_objects(),
        "visemes": np.zeros((job.frames, len(CHANNELS)), np.float32),
        "pose": np.zeros((job.frames, 5), np.float32),
        "blink": zeros,
        "brow": zeros,
        "expression": np.array(0, np.int64),
        "level": zeros,
        "lip_gap": zeros,
        "boxes": np.zeros((job.frames, 3, 2), np.float32),
        "audio": np.zeros(job.frames * SAMPLES_PER_FRAME, np.int16),
    }


def _stack(frames: list[Any]) -> Arrays:
    arrays = {
        "frames": np.stack([f.pixels for f in frames]),
        "flow": np.stack([f.flow for f in frames]).astype(np.float16),
        "fine": np.stack([f.fine for f in frames]).astype(np.float16),
        "fine_ok": np.stack([f.fine_ok for f in frames]),
        "tracks": np.stack([f.tracks for f in frames]).astype(np.float32),
        "track_vis": np.stack([f.track_vis for f in frames]),
    }
    if frames[0].open_flow is not None:
        arrays |= {
            "open_flow": np.stack([f.open_flow for f in frames]).astype(np.float16),
            "open_fine": np.stack([f.open_fine for f in frames]).astype(np.float16),
            "open_fine_ok": np.stack([f.open_fine_ok for f in frames]),
        }
    return arrays


def save_clip(path: Path, arrays: Arrays) -> None:
    """Write a clip so that a half-written file never bears its name."""
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        np.savez(out, **arrays)  # pyright: ignore[reportArgumentType]
    part.replace(path)


def is_valid(path: Path, kind: str) -> bool:
    """Whether a file holds a complete clip of this version."""
    try:
        with path.open("rb") as file, np.load(file) as data:
            return set(KEYS[kind]) <= set(data.files) and int(data["version"]) == VERSION
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
