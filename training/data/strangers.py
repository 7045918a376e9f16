"""People who do not ship: random faces, so that networks learn faces and not a list of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.data.backgrounds import BACKGROUNDS
from training.data.identities import IDENTITIES, Colour, Hair, Identity, Outfit

_KINDS = ("caucasian", "african", "asian")
_SKIN_LIGHT, _SKIN_DARK = np.array([0.94, 0.78, 0.69]), np.array([0.36, 0.235, 0.17])
_HAIR: tuple[Colour, ...] = (
    (0.08, 0.065, 0.06), (0.17, 0.11, 0.08), (0.33, 0.21, 0.13), (0.55, 0.36, 0.2),
    (0.78, 0.62, 0.4), (0.56, 0.24, 0.11), (0.62, 0.62, 0.63), (0.86, 0.85, 0.84),
)  # fmt: skip
_DETAILS = (
    "head/head-oval", "head/head-round", "head/head-rectangular", "head/head-square",
    "nose/nose-scale-horiz-decr", "nose/nose-scale-vert-incr", "nose/nose-scale-vert-decr",
    "nose/nose-hump-incr", "chin/chin-width-incr", "chin/chin-width-decr",
    "mouth/mouth-lowerlip-volume-incr", "mouth/mouth-upperlip-volume-incr",
    "mouth/mouth-scale-horiz-incr",
)  # fmt: skip


def stranger(number: int) -> Identity:
    """A random person; equal numbers give equal people."""
    rng = np.random.default_rng([77, number])
    woman = rng.random() < 0.5
    tone = float(rng.beta(0.9, 0.9))
    skin = _SKIN_LIGHT * (1 - tone) + _SKIN_DARK * tone + rng.normal(0, 0.015, 3)
    lip = skin * np.array([0.92, 0.62, 0.66]) + rng.normal(0, 0.02, 3)
    hair = _random_hair(rng, woman)
    light = float(rng.choice([-1, 1]) * rng.uniform(24, 38))
    look = Outfit(
        f"stranger-{number:02d}", f"Stranger {number}", _colour(rng), _colour(rng),
        int(rng.integers(4)), str(rng.choice(BACKGROUNDS)), light, {},
    )  # fmt: skip
    chosen = rng.choice(len(_DETAILS), 4, replace=False)
    return Identity(
        look.name,
        _random_macro(rng, "female" if woman else "male"),
        {_DETAILS[k]: float(rng.uniform(0.1, 0.45)) for k in chosen},
        _triple(skin), _triple(lip), _triple(rng.uniform(0.06, 0.5, 3)), hair,
        float(rng.uniform(0.5, 1.0)), {}, (look,),
        blush=float(rng.uniform(0.2, 0.6)), age_lines=float(rng.random() < 0.3) * 0.7,
        liner=float(woman) * float(rng.uniform(0, 0.9)), glasses=rng.random() < 0.3,
        beard=not woman and rng.random() < 0.35, exposure=1 + 0.4 * tone,
        rest={"jawOpen": -0.04, "mouthUpperUpLeft": -0.06, "mouthUpperUpRight": -0.06},
    )  # fmt: skip


def _random_macro(rng: np.random.Generator, gender: str) -> dict[str, float]:
    old = float(rng.uniform(0.5, 0.9)) if rng.random() < 0.35 else float(rng.uniform(0, 0.2))
    shares = rng.dirichlet([0.5] * len(_KINDS))
    macro: dict[str, float] = {}
    for age, share in (("young", 1 - old), ("old", old)):
        macro[f"universal-{gender}-{age}-averagemuscle-averageweight"] = share
        for kind, part in zip(_KINDS, shares, strict=True):
            macro[f"{kind}-{gender}-{age}"] = share * float(part)
    return macro


def _random_hair(rng: np.random.Generator, woman: bool) -> Hair:
    """The cut of one of the people who ship, in another colour and size."""
    words = "woman" if woman else "man"
    cuts = [who.hair for who in IDENTITIES if who.words["gender"] == words]
    cut = cuts[int(rng.integers(len(cuts)))]
    return replace(
        cut,
        colour=_HAIR[int(rng.integers(len(_HAIR)))],
        thickness=cut.thickness * float(rng.uniform(0.85, 1.2)),
        front_y=cut.front_y + float(rng.uniform(-0.08, 0.06)),
        end_y=cut.end_y + float(rng.uniform(-0.15, 0.15)),
        parting=float(rng.uniform(-0.3, 0.3)),
    )


def _colour(rng: np.random.Generator) -> Colour:
    return _triple(rng.uniform(0.08, 0.92, 3))


def _triple(values: np.ndarray) -> Colour:
    red, green, blue = (float(x) for x in np.clip(values, 0.03, 0.97))
    return red, green, blue
