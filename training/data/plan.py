"""What a data set consists of: the list of clips, their seeds and the presets."""

import zlib
from dataclasses import dataclass

from training.data.identities import IDENTITIES
from training.data.languages import LANGUAGES
from training.data.scenes import SCENES
from training.data.strangers import stranger
from training.data.visitors import visitor

VERSION = 4
BASE_SEED = 20_25


@dataclass(frozen=True)
class Preset:
    """Sizes of a data set."""

    name: str
    looks: tuple[str, ...]
    scenes: tuple[str, ...]
    frames: int
    avatar_train: int
    avatar_test: int
    scene_train: int
    scene_test: int
    audio_train: int
    audio_test: int
    audio_frames: int = 100
    strangers: int = 0
    stranger_train: int = 0
    """Random people who do not ship, and training clips of each."""
    avatar_said: int = 0
    """Held-out clips of each look that speaks with a neutral face, as a stream does unasked: what
    the quality bench compares speech with."""
    visitors: int = 0
    """People with a photograph, a training clip of each."""
    foreign_train: int = 0
    foreign_test: int = 0
    """Clips of speech alone in each other language."""
    avatar_foreign: int = 0
    """Held-out clips of each look that speaks another language: 1 in a voice that training had
    not, 2 also in one that it had."""


_ALL_LOOKS = tuple(look.name for who in IDENTITIES for look in who.outfits)
PRESETS: dict[str, Preset] = {
    "full": Preset("full", _ALL_LOOKS, tuple(s.name for s in SCENES), 100, 10, 3, 18, 4,
                   2400, 48, strangers=40, stranger_train=1, avatar_said=3, visitors=104,
                   foreign_train=220, foreign_test=8, avatar_foreign=2),
    "smoke": Preset("smoke", ("kofi-news", "mei-gallery"), ("toys",), 28, 2, 1, 1, 1, 12, 2, 28,
                    strangers=1, stranger_train=1, avatar_said=1, visitors=2, foreign_train=1,
                    foreign_test=1, avatar_foreign=2),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One clip to render."""

    kind: str
    """`avatar`, `scene` or `audio`."""
    split: str
    look: str
    number: int
    frames: int
    language: str = "en"

    @property
    def name(self) -> str:
        """File name without suffix; the seed depends on it only."""
        return f"{self.split}_{self.look}_{self.number:02d}"

    @property
    def seed(self) -> list[int]:
        """Entropy for numpy's generator."""
        return [BASE_SEED, VERSION, zlib.crc32(f"{self.kind}:{self.name}".encode())]


def plan(preset: Preset) -> list[Job]:
    """All clips of a preset; clips of speech alone have the look `audio` or `audio-LANGUAGE`."""
    strangers = tuple(stranger(k).name for k in range(preset.strangers))
    counts = {
        "stranger": (strangers, preset.stranger_train, 0, preset.frames),
        "avatar": (preset.looks, preset.avatar_train, preset.avatar_test, preset.frames),
        "scene": (preset.scenes, preset.scene_train, preset.scene_test, preset.frames),
        "audio": (("audio",), preset.audio_train, preset.audio_test, preset.audio_frames),
    }
    jobs = []
    for kind, (looks, train, test, frames) in counts.items():
        for look in looks:
            said = preset.avatar_said if kind == "avatar" else 0
            for split, count in (("train", train), ("test", test), ("said", said)):
                shown = "avatar" if kind == "stranger" else kind
                jobs += [Job(shown, split, look, k, frames) for k in range(count)]
    return jobs + _visitors(preset) + _foreign(preset)


def _visitors(preset: Preset) -> list[Job]:
    """Every other one speaks English, the others all other languages by turns."""
    codes = tuple(LANGUAGES)
    languages = [codes[k // 2 % len(codes)] if k % 2 else "en" for k in range(preset.visitors)]
    return [
        Job("avatar", "train", visitor(k).name, 0, preset.frames, language)
        for k, language in enumerate(languages)
    ]


def _foreign(preset: Preset) -> list[Job]:
    codes = tuple(LANGUAGES)
    jobs = [
        Job("audio", split, f"audio-{code}", k, preset.audio_frames, code)
        for code in codes
        for split, count in (("train", preset.foreign_train), ("test", preset.foreign_test))
        for k in range(count)
    ]
    return jobs + [
        Job("avatar", "foreign", look, k, preset.frames, codes[_ALL_LOOKS.index(look) % len(codes)])
        for look in preset.looks
        for k in range(preset.avatar_foreign)
    ]
