"""What a file or a folder of weights is, told from its names and shapes; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from .checkpoint import open_checkpoint
from .config_file import is_wan_config
from .loading import fitting_presets, misfits
from .locate import FilesMissing, locate
from .names import student_name
from .presets.catalogue import presets
from .tiny_decoder import is_tiny_decoder
from .tiny_encoder import is_tiny_encoder
from .weight_files import BadCheckpoint, is_weight_file


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file: `kind` in words, how many values of which types it has, and whom it fits.

    `fits` are the presets that it is a student of, the one that publishes it under this name first.
    `wrong` says for every other preset how many names do not fit.
    """

    path: Path
    kind: str
    values: int
    bytes: int
    dtypes: tuple[str, ...]
    fits: tuple[str, ...] = ()
    wrong: Mapping[str, int] | None = None


def inspect_file(path: Path, config: Path | None) -> FoundFile:
    """What a file of weights, or an index of shards, is; `config` has a student's sizes, if any.

    Raises FileNotFoundError, and BadCheckpoint for what cannot be read.
    """
    weights = open_checkpoint(path, _sections(path))
    kind = _kind(weights)
    tensors = list(weights.values())
    fits: tuple[str, ...] = ()
    wrong = None
    if kind == "student":
        counts = fitting_presets(weights, config)
        publishers = [p.name for p in presets().values() if _published_as(p.weights.path, path)]
        fitting = [name for name, count in counts.items() if not count]
        fits = tuple(sorted(fitting, key=lambda name: name not in publishers))
        wrong = {name: count for name, count in counts.items() if count}
    return FoundFile(
        path,
        kind,
        sum(tensor.numel() for tensor in tensors),
        sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})),
        fits,
        wrong,
    )


@dataclass(frozen=True, slots=True)
class Served:
    """What a folder is to a preset: what it `lacks` there, and what of the files `misfits` it.

    Neither: it can be served from there.
    """

    lacks: str = ""
    misfits: tuple[str, ...] = ()


def served_from(place: Path) -> dict[str, Served]:
    """For every preset what a folder is to it, told from names and shapes."""
    found: dict[str, Served] = {}
    for preset in presets().values():
        try:
            found[preset.name] = Served(
                misfits=tuple(misfits(preset, locate(preset, [str(place)])))
            )
        except FilesMissing as error:
            lacks = ", ".join(source.path for source in error.missing)
            found[preset.name] = Served(lacks)
        except (BadCheckpoint, FileNotFoundError) as error:
            found[preset.name] = Served(misfits=(str(error),))
    return found


def config_in(folder: Path) -> Path | None:
    """The first `config.json` of a Wan model in a folder."""
    return next(filter(is_wan_config, sorted(folder.rglob("config.json"))), None)


def files_in(folder: Path) -> list[Path]:
    """Every file of weights in a folder; of shards their index alone."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and is_weight_file(path))
    indexed = {path.parent for path in found if path.name.endswith(".json")}
    return [path for path in found if path.parent not in indexed or path.name.endswith(".json")]


def _sections(path: Path) -> tuple[str, ...]:
    """Of a file that a preset publishes those that it names, else any that is known."""
    own = [p.weights for p in presets().values() if _published_as(p.weights.path, path)]
    adapters = [p.adapter.source for p in presets().values() if p.adapter is not None]
    own += [source for source in adapters if _published_as(source.path, path)]
    known = ("generator_ema", "generator", "model", "state_dict", "generator_lora")
    return (*(own[0].sections if own else ()), *known)


def _published_as(published: str, path: Path) -> bool:
    return path.as_posix().endswith(published) or PurePosixPath(published).name == path.name


def _kind(weights: Mapping[str, Tensor]) -> str:
    names = {student_name(name) for name in weights}
    raw = set(weights)
    first_heard = "feature_extractor.conv_layers.0.conv.weight"
    kinds = {
        "adapter": any(".lora_A." in name or ".lora_B." in name for name in raw),
        "student": {"patch_embedding.weight", "head.modulation"} <= names,
        "tiny decoder and encoder": is_tiny_decoder(weights) and is_tiny_encoder(weights),
        "tiny decoder": is_tiny_decoder(weights),
        "tiny encoder": is_tiny_encoder(weights),
        "VAE": raw & {"decoder.conv1.weight", "decoder.conv_in.weight"},
        "text encoder": raw & {"token_embedding.weight", "shared.weight"},
        "image encoder": any(name.endswith("embeddings.class_embedding") for name in raw),
        "speech encoder": any(name.endswith(first_heard) for name in raw),
    }
    return next((kind for kind, found in kinds.items() if found), "unknown")
