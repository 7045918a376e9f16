"""All presets by name: whatever the files of this folder hold."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from .preset import Preset


@cache
def presets() -> dict[str, Preset]:
    """Every preset by its name, families in alphabetical order."""
    package = __package__ or ""
    folder = list(import_module(package).__path__)
    families = [import_module(f"{package}.{each.name}") for each in pkgutil.iter_modules(folder)]
    found = [preset for family in families for preset in getattr(family, "PRESETS", ())]
    named = {preset.name: preset for preset in found}
    assert len(named) == len(found), "two presets have one name"
    return named


def preset_named(name: str) -> Preset:
    """The preset of this name. Raises ValueError, naming the known ones."""
    if name not in presets():
        raise ValueError(f"unknown model {name!r}; known: {', '.join(presets())}")
    return presets()[name]
