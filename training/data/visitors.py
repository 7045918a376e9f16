"""People as they come with a picture of their own: random faces, photographed and not posed.

They are strangers whose only picture is what somebody brings: the head a little aside, light from
anywhere, often a smile with teeth or lips apart, skin, glasses and backgrounds as cameras see them.
What they do in clips starts from that picture, and their lips close there as anybody's do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.data.backgrounds import PHOTOGRAPHED
from training.data.identities import Identity, Photograph
from training.data.strangers import stranger

NAME = "visitor-"
MOUTHS = ("closed", "smiling", "apart")
_SHARES = (0.4, 0.42, 0.18)
_FIRST = 1000
"""Their faces are those of strangers from this number on."""


def visitor(number: int, mouth: str | None = None) -> Identity:
    """A random person with a photograph; equal numbers give equal people.

    `mouth` is one of MOUTHS; left out, the number says which.
    """
    rng = np.random.default_rng([78, number])
    shown = str(rng.choice(MOUTHS, p=_SHARES))
    who = stranger(_FIRST + number)
    look = who.outfits[0]
    name = f"{NAME}{number:03d}"
    angle = float(rng.choice([-1, 1]) * rng.uniform(5, 80))
    outfit = replace(
        look, name=name, title=f"Visitor {number}", background=f"{PHOTOGRAPHED}{number}",
        light_deg=angle, cloth_kind=int(rng.choice([0, 1, 2, 2])),
        cloth=_muted(rng, look.cloth), cloth2=_muted(rng, look.cloth2),
    )  # fmt: skip
    warm, bright = rng.normal(0, 0.07), rng.uniform(0.8, 1.15)
    key = tuple(bright * c for c in (0.80 * (1 + warm), 0.765, 0.72 * (1 - warm)))
    photograph = Photograph(
        _worn(rng, mouth or shown),
        (float(rng.normal(0, 0.085)), float(rng.normal(0, 0.05)), float(rng.normal(0, 0.02))),
        float(rng.uniform(0.1, 1.0)), (key[0], key[1], key[2]), float(rng.uniform(0.45, 1.3)),
        glare=float(who.glasses) * float(rng.random() < 0.7) * float(rng.uniform(0.15, 0.6)),
        glare_at=float(rng.uniform(-0.6, 0.4)), grain=float(rng.uniform(0, 5)),
        quality=int(rng.integers(55, 96)),
    )  # fmt: skip
    # closing the lips of a picture makes its smile flatter
    least = {"closed": 0.0, "smiling": 0.1, "apart": 0.0}[mouth or shown]
    smile = float(rng.uniform(least, least + 0.25))
    rest = who.rest | {
        f"{unit}{side}": share * smile
        for unit, share in (("mouthSmile", 1.0), ("cheekSquint", 0.8), ("eyeSquint", 0.4))
        for side in ("Left", "Right")
    }
    return replace(
        who, name=name, outfits=(outfit,), photograph=photograph, rest=rest,
        texture=float(rng.uniform(0.3, 1.2)),
        iris=tuple(0.3 * np.array(who.iris) + 0.7 * np.array(_EYES[int(rng.integers(len(_EYES)))])),
        age_lines=max(who.age_lines, float(rng.random() < 0.4) * float(rng.uniform(0.2, 0.9))),
    )  # fmt: skip


_EYES = ((0.24, 0.15, 0.09), (0.30, 0.20, 0.12), (0.32, 0.42, 0.52), (0.34, 0.38, 0.28))


def _worn(rng: np.random.Generator, mouth: str) -> dict[str, float]:
    """Face units of the picture alone."""
    if mouth == "closed":
        return {}
    if mouth == "smiling":
        pairs = {"mouthSmile": rng.uniform(0.3, 0.6), "mouthUpperUp": rng.uniform(0.6, 1.0),
                 "mouthLowerDown": rng.uniform(0.45, 0.9), "mouthStretch": rng.uniform(0.0, 0.35),
                 "cheekSquint": rng.uniform(0.1, 0.4)}  # fmt: skip
        jaw = rng.uniform(0.0, 0.14)
    else:
        pairs = {"mouthUpperUp": rng.uniform(0.1, 0.4), "mouthLowerDown": rng.uniform(0.15, 0.5)}
        jaw = rng.uniform(0.08, 0.3)
    worn = {f"{unit}{side}": float(w) for unit, w in pairs.items() for side in ("Left", "Right")}
    return worn | {"jawOpen": float(jaw)}


def _muted(rng: np.random.Generator, colour: tuple[float, float, float]) -> tuple[float, ...]:
    """Clothes are seldom as bright as paint."""
    grey = float(np.mean(colour)) * float(rng.uniform(0.5, 1.1))
    return tuple(float(np.clip(0.45 * c + 0.55 * grey, 0.03, 0.95)) for c in colour)
