"""Models by name: what `--model` can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contract import Model, StreamRequest
from .load_options import LoadOptions
from .own_models import OWN_MODELS, PRELOADS, STAGE_MODULES

if TYPE_CHECKING:
    from .plugins import Plugin
    from .wan.presets.preset import Preset
    from .wan.text.reader import TextReader

# Most imports are inside: a start with the project's own models waits for none of the others, nor
# the test pattern for torch.

_POCKET_SIZES = {"pocket": 192, "pocket-256": 256}
"""Width and height of frames, in pixels."""
MODEL_FACTORY = f"{__name__}:load_model"
"""How another process makes a model of this registry."""


def model_names() -> dict[str, str]:
    """Name and one-line description of every model."""
    others = {name: plugin.about for name, plugin in foreign_models().items()}
    return _known() | others


def own_models() -> tuple[str, ...]:
    """The models that need no files from elsewhere."""
    return tuple(OWN_MODELS)


def own_weights(name: str) -> list[Path]:
    """The files of weights that a model of `own_models` ships with."""
    folder = {"pocket-256": "pocket", "toy-world": "toy_world"}.get(name, name)
    path = Path(__file__).parent / folder / "assets" / f"{folder.replace('_', '-')}.safetensors"
    return [path] if path.is_file() else []


def takes_steps(name: str) -> bool:
    """Whether a model that needs no files can be told its denoising steps."""
    return name in _POCKET_SIZES


def foreign_models() -> dict[str, Plugin]:
    """The models that other distributions bring."""
    from .plugins import plugins

    return plugins(_known())


def left_out() -> list[str]:
    """A line on each model of another distribution that cannot be named."""
    from .plugins import unusable

    return unusable(_known())


def load_model(
    name: str,
    *,
    threads: int | None = None,
    weights: Sequence[str] = (),
    size: Sequence[int] | None = None,
    sessions: int = 1,
    dtype: str | None = None,
    quantize: str | None = None,
    attention: str | None = None,
    steps: Sequence[float] | None = None,
    decoder: str | None = None,
    tiny_decoder: str | None = None,
    encoder: str | None = None,
    device: str | None = None,
    lookahead_ms: int | None = None,
) -> Model[Any]:
    """Load a model on the calling thread; only that thread may use it.

    `threads` is how many CPU threads it computes with; None: as many as are fastest here, which
    takes a second to measure. A published model is read from `weights` (`wan.locate.locate`), makes
    frames of `size` (width, height) pixels and has room for so many streams at once. `dtype`,
    `quantize` and `attention` are those of `wan.number_types`, `steps` take the place of its own
    (`sampling.recipe.Recipe.with_steps`); `decoder` and `encoder` are files whose decoder and
    encoder take the place of its VAE's, tiny ones say (`wan.vae_files`), `tiny_decoder` is one that
    is used beside the VAE's (`contract.Economy`). `device` is one of
    `devices.device_named`, `lookahead_ms` how far ahead speech is heard. A model of another
    distribution is told all of this.

    Raises ValueError for an unknown name and for what does not fit, FileNotFoundError when weights
    are missing, and PluginFailed for whatever goes wrong in the code of another distribution.
    """
    if name not in OWN_MODELS and name not in model_names():
        raise ValueError(f"unknown model {name!r}; known: {', '.join(model_names())}")
    options = LoadOptions(
        threads=threads,
        sessions=sessions,
        weights=tuple(weights),
        size=None if size is None else (size[0], size[1]),
        decoder=decoder,
        tiny_decoder=tiny_decoder,
        encoder=encoder,
        dtype=dtype,
        quantize=quantize,
        attention=attention,
        steps=None if steps is None else tuple(steps),
        device=device,
        lookahead_ms=lookahead_ms,
    )
    if name not in OWN_MODELS:
        published = name in _presets()
        return _published(name, options) if published else foreign_models()[name].load(options)
    try:
        options.check_none_but(*(("steps",) if takes_steps(name) else ()))
    except ValueError as error:
        raise ValueError(f"{name} comes with its weights and size: {error}") from error
    if name == "toy-world":
        return _toy_world(threads)
    return _test_pattern() if name == "test-pattern" else _pocket(name, threads, options.steps)


def prompt_reader(name: str, weights: Sequence[str]) -> TextReader | None:
    """Who reads prompts of a model, so that its chunks need not wait; None: they need not be read.

    It has started nothing yet. Raises as `load_model` does for files that are missing.
    """
    if name in OWN_MODELS or name not in _presets():
        return None
    from .wan.locate import locate
    from .wan.text.preset_reader import text_reader

    preset = _presets()[name]
    return text_reader(preset, locate(preset, weights))


def preload(name: str) -> tuple[str, ...]:
    """Modules that a process which makes this model imports anyway: see `ModelSpec`."""
    if name in PRELOADS:
        return PRELOADS[name]
    # what a stranger's model imports is for its own process
    if name not in _presets():
        return ()
    return (*STAGE_MODULES, *(m for each in _presets()[name].conditioning for m in each.imports))


def _known() -> dict[str, str]:
    """The models that are not another distribution's."""
    return dict(OWN_MODELS) | {name: preset.about for name, preset in _presets().items()}


def _presets() -> Mapping[str, Preset]:
    """The published models by name."""
    from .wan.presets.catalogue import presets

    return presets()


def _pocket(name: str, threads: int | None, steps: tuple[float, ...] | None) -> Model[Any]:
    from .contract import Controls
    from .cpu_threads import choose_threads
    from .pocket.config import SERVED_STEPS
    from .pocket.model import PocketModel

    if threads is not None:
        _use_threads(threads)
    model = PocketModel(steps=steps or SERVED_STEPS, name=name, size=_POCKET_SIZES[name])
    if threads is None:
        state = model.start(StreamRequest(seed=0))
        choose_threads(lambda: model.step(state, Controls()))
    return model


def _test_pattern() -> Model[Any]:
    from .test_pattern import TestPattern

    return TestPattern()


def _toy_world(threads: int | None) -> Model[Any]:
    from .toy_world.model import ToyWorldModel

    _use_threads(threads or 1)
    return ToyWorldModel()


def _published(name: str, options: LoadOptions) -> Model[Any]:
    from .wan.stream.open_model import open_model

    if options.threads is not None:
        _use_threads(options.threads)
    return open_model(name, options)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
