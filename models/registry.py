"""Models by name: what `--model` can say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .contract import Model, StreamRequest


def _pocket(threads: int | None) -> Model[Any]:
    import torch

    from .contract import Controls
    from .cpu_threads import choose_threads
    from .pocket.model import PocketModel

    if threads is not None:
        torch.set_num_threads(threads)
    model = PocketModel()
    if threads is None:
        state = model.start(StreamRequest(seed=0))
        choose_threads(lambda: model.step(state, Controls()))
    return model


def _test_pattern(threads: int | None) -> Model[Any]:
    from .test_pattern import TestPattern

    return TestPattern()


# imports are inside: the test pattern must not cost a torch import
_MODELS: dict[str, tuple[str, Callable[[int | None], Model[Any]]]] = {
    "pocket": ("talking avatars and movable scenes, ships with the project", _pocket),
    "test-pattern": ("a painted pattern without a network, for checks of a set-up", _test_pattern),
}
DEFAULT_MODEL = "pocket"
MODEL_FACTORY = f"{__name__}:load_model"
"""How another process makes a model of this registry."""


def model_names() -> dict[str, str]:
    """Name and one-line description of every model."""
    return {name: about for name, (about, _) in _MODELS.items()}


def preload(name: str) -> tuple[str, ...]:
    """Modules that a process which makes this model imports anyway: see `ModelSpec`."""
    return () if name == "test-pattern" else ("rollcast.models.pipeline.stage",)


def load_model(name: str, *, threads: int | None = None) -> Model[Any]:
    """Load a model on the calling thread; only that thread may use it.

    `threads` is how many CPU threads it computes with; None: as
    many as are fastest here, which takes a second to measure.

    Raises ValueError for an unknown name, FileNotFoundError when its weights are missing.
    """
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(_MODELS)}")
    return _MODELS[name][1](threads)
