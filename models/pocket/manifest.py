"""The pocket model's description beside its weights: looks, vocabulary, presets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .motion import SceneObject, pans
from .prompt import Token, Vocabulary

FORMAT = 2


@dataclass(frozen=True, slots=True)
class LookEntry:
    """An avatar in one outfit, or a scene.

    `reference`, `opened` and `plate` are its pictures' files (a scene's `opened` is its
    reference, or its plate if the camera pans), `tokens` the vocabulary tokens it shows,
    `scale` the pixels of one unit of its motion latents.
    """

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    reference: str
    opened: str
    plate: str
    tokens: tuple[str, ...]
    scale: float
    objects: tuple[SceneObject, ...]

    @property
    def pans(self) -> bool:
        """Whether its camera can be moved."""
        return pans(self.objects)


@dataclass(frozen=True, slots=True)
class Manifest:
    """`manifest.json`. `drag_gain` is the pixels a face point moves per radian of yaw, pitch."""

    title: str
    looks: tuple[LookEntry, ...]
    tokens: tuple[Token, ...]
    fillers: tuple[str, ...]
    presets: tuple[str, ...]
    drag_gain: tuple[float, float]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Load a manifest. Raises ValueError for another format."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.get("format") != FORMAT:
            raise ValueError(f"{path.name}: format {plain.get('format')}, expected {FORMAT}")
        return cls(
            title=plain["title"],
            looks=tuple(_look(entry) for entry in plain["looks"]),
            tokens=tuple(
                Token(t["name"], t["group"], tuple(t["words"])) for t in plain["vocabulary"]
            ),
            fillers=tuple(plain["fillers"]),
            presets=tuple(plain["presets"]),
            drag_gain=tuple(plain["drag_gain"]),
        )

    def vocabulary(self) -> Vocabulary:
        """The vocabulary that prompts are read with."""
        return Vocabulary(self.tokens, self.fillers)


def _look(entry: dict[str, Any]) -> LookEntry:
    objects = tuple(
        SceneObject(
            thing["name"],
            tuple(thing["home"]),
            thing["radius"],
            tuple(thing["pan"]) if "pan" in thing else None,
        )
        for thing in entry["objects"]
    )
    return LookEntry(
        entry["name"],
        entry["title"],
        entry["kind"],
        entry["reference"],
        entry["opened"],
        entry["plate"],
        tuple(entry["tokens"]),
        entry["scale"],
        objects,
    )
