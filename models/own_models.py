"""The models that the project brings itself; free of imports, for who only has to know of them."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_MODEL = "pocket"
OWN_MODELS: Mapping[str, str] = {
    "pocket": "talking avatars and movable scenes, ships with the project",
    "pocket-256": "the same in 256 x 256 pixels: sharper, for a tenth more processor time",
    "test-pattern": "a painted pattern without a network, for checks of a set-up",
    "toy-world": "sprites on a grid that remember nothing but their past, to watch drift",
}
"""Name and one-line description of each."""
STAGE_MODULES = ("rollcast.models.pipeline.serve_stage", "rollcast.models.pipeline.stage")
"""What every process imports that makes a staged model: torch above all."""
_POCKET_MODULES = (*STAGE_MODULES, "rollcast.models.pocket.model")
PRELOADS: Mapping[str, tuple[str, ...]] = {
    "pocket": _POCKET_MODULES,
    "pocket-256": _POCKET_MODULES,
    "toy-world": STAGE_MODULES,
    # it is one painter without torch
    "test-pattern": (),
}
"""What the process imports anyway that makes the model."""
