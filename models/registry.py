"""Models by name: what `--model` can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .contract import Model, StreamRequest
from .wan.locate import locate
from .wan.presets.catalogue import presets
from .wan.text.preset_reader import text_reader
from .wan.text.reader import TextReader

# What the project brings itself.
_OWN = {
    "pocket": "talking avatars and movable scenes, ships with the project",
    "test-pattern": "a painted pattern without a network, for checks of a set-up",
}
DEFAULT_MODEL = "pocket"
MODEL_FACTORY = f"{__name__}:load_model"
"""How another process makes a model of this registry."""


def model_names() -> dict[str, str]:
    """Name and one-line description of every model."""
    return _OWN | {name: preset.about for name, preset in presets().items()}


def own_models() -> tuple[str, ...]:
    """The models that need no files from elsewhere."""
    return tuple(_OWN)


def load_model(
    name: str,
    *,
    threads: int | None = None,
    weights: Sequence[str] = (),
    size: Sequence[int] | None = None,
    sessions: int = 1,
    decoder: str | None = None,
) -> Model[Any]:
    """Load a model on the calling thread; only that thread may use it.

    `threads` is how many CPU threads it computes with; None: as many as are fastest here, which
    takes a second to measure. A published model is read from `weights` (`wan.locate.locate`), makes
    frames of `size` (width, height) pixels and has room for so many streams at once. `decoder` is a
    file whose decoder takes the place of its VAE's, a tiny one say (`wan.vae_files.load_decoder`).

    Raises ValueError for an unknown name and for what does not fit, FileNotFoundError when weights
    are missing.
    """
    if name not in model_names():
        raise ValueError(f"unknown model {name!r}; known: {', '.join(model_names())}")
    if name in presets():
        return _published(name, threads, weights, size, sessions, decoder)
    if weights or size or decoder:
        raise ValueError(
            f"{name} comes with its weights and size: give no weights, no size and no decoder"
        )
    return _pocket(threads) if name == "pocket" else _test_pattern()


def prompt_reader(name: str, weights: Sequence[str]) -> TextReader | None:
    """Who reads prompts of a model, so that its chunks need not wait; None: they need not be read.

    It has started nothing yet. Raises as `load_model` does for files that are missing.
    """
    if name not in presets():
        return None
    preset = presets()[name]
    return text_reader(preset, locate(preset, weights))


def preload(name: str) -> tuple[str, ...]:
    """Modules that a process which makes this model imports anyway: see `ModelSpec`."""
    return () if name == "test-pattern" else ("rollcast.models.pipeline.stage",)


# imports are inside: the test pattern must not cost a torch import


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


def _test_pattern() -> Model[Any]:
    from .test_pattern import TestPattern

    return TestPattern()


def _published(
    name: str,
    threads: int | None,
    weights: Sequence[str],
    size: Sequence[int] | None,
    sessions: int,
    decoder: str | None,
) -> Model[Any]:
    from pathlib import Path

    import torch

    from .wan.stream.open_model import open_model

    if threads is not None:
        torch.set_num_threads(threads)
    width_height = None if size is None else (size[0], size[1])
    file = None if decoder is None else Path(decoder).expanduser()
    return open_model(name, weights, size=width_height, sessions=sessions, decoder_file=file)
